package serendipity_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/app"
	"github.com/taskweir/taskweir/internal/compat/compattest"
	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
)

// BenchmarkCreate measures signed creates beside native submits of the same payload, by turns in one run: a whole standalone
// without a worker, on SQLite or (BENCH_DATABASE=mysql) on the server of the tests, and clients over kept connections. "same" is
// the native submit of the same task (unique key, retry policy), "native" the plainest. Signing is part of what is measured.
func BenchmarkCreate(b *testing.B) {
	environ := []string{"TASKWEIR_HTTP_ADDR=127.0.0.1:0", "TASKWEIR_DATA_DIR=" + b.TempDir(), "TASKWEIR_LOG_LEVEL=warn"}
	if kind := os.Getenv("BENCH_DATABASE"); kind != "" {
		environ = append(environ, "TASKWEIR_DATABASE_URL="+sqldbtest.URL(b, kind))
	}
	cfg, err := config.Load(config.Standalone, nil, environ)
	if err != nil {
		b.Fatal(err)
	}
	a, err := app.Start(b.Context(), cfg, app.Options{Logger: slog.New(slog.DiscardHandler), NoWorker: true})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Stop() //nolint:errcheck // its errors are measured nowhere
	resp, err := http.Post(a.URL()+"/serendipity/application/create", "application/json", strings.NewReader(`{"appName":"bench","linkUrl":"http://127.0.0.1:9/"}`))
	if err != nil {
		b.Fatal(err)
	}
	var made struct {
		Data struct{ AppKey, SecretKey string }
	}
	raw, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err := json.Unmarshal(raw, &made); err != nil || made.Data.AppKey == "" {
		b.Fatalf("%s %v", raw, err)
	}
	req, _ := http.NewRequest("POST", a.URL()+"/v1/apps/"+made.Data.AppKey+"/keys", strings.NewReader(`{"scope":"submit"}`))
	req.Header.Set("Authorization", "Bearer "+a.APIKey())
	if resp, err = http.DefaultClient.Do(req); err != nil {
		b.Fatal(err)
	}
	var key struct{ Key string }
	if err := json.NewDecoder(resp.Body).Decode(&key); err != nil || key.Key == "" {
		b.Fatal(resp.Status, err)
	}
	resp.Body.Close()
	content := `{"user":"someone@example.com","text":"` + strings.Repeat("x", 140) + `","n":42}`
	quoted, _ := json.Marshal(content)
	var serial atomic.Int64
	native := func(more func(n string) string) func() []byte {
		return func() []byte {
			body := `{"kind":"serendipity.callback","payload":` + content + more("v"+strconv.FormatInt(serial.Add(1), 10)) + `}`
			return fmt.Appendf(nil, "POST /v1/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
				key.Key, len(body), body)
		}
	}
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	signed := func() []byte {
		n := strconv.FormatInt(serial.Add(1), 10)
		body := `{"taskNo":"a` + n + `","content":` + string(quoted) + `,"name":"order","timeout":60000}`
		return []byte("POST /serendipity/task/create HTTP/1.1\r\nHost: x\r\napp_key: " + made.Data.AppKey + "\r\nnonce: nonce" + n + "\r\ntimestamps: " + stamp +
			"\r\npayload: p\r\nsignature: " + signOf(stamp, "nonce"+n, "p", made.Data.SecretKey) + "\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	}
	addr := strings.TrimPrefix(a.URL(), "http://")
	for round := range 3 {
		b.Run(fmt.Sprintf("native-%d", round), func(b *testing.B) {
			compattest.Hammer(b, addr, "201", native(func(string) string { return "" }))
		})
		b.Run(fmt.Sprintf("same-%d", round), func(b *testing.B) {
			compattest.Hammer(b, addr, "201", native(func(n string) string {
				return `,"uniqueKey":"` + n + `","uniqueScope":"forever","retry":{"policy":"linear","baseMs":5000,"capMs":3600000,"jitter":0,"max":5}`
			}))
		})
		b.Run(fmt.Sprintf("signed-%d", round), func(b *testing.B) { compattest.Hammer(b, addr, `"msg":"ok!"`, signed) })
	}
}
