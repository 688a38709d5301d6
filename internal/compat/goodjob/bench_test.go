package goodjob_test

import (
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
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

// BenchmarkCreate measures signed creates beside native submits of the same payload, by turns in one run: a whole standalone without
// a worker, on embedded parts or (BENCH_DATABASE=mysql) on the servers of the tests, and clients over kept connections. Signing is part
// of what is measured.
func BenchmarkCreate(b *testing.B) {
	environ := []string{"TASKWEIR_HTTP_ADDR=127.0.0.1:0", "TASKWEIR_DATA_DIR=" + b.TempDir(), "TASKWEIR_LOG_LEVEL=warn"}
	if kind := os.Getenv("BENCH_DATABASE"); kind != "" {
		environ = append(environ, "TASKWEIR_DATABASE_URL="+sqldbtest.URL(b, kind))
	}
	if url := os.Getenv("TASKWEIR_TEST_REDIS"); url != "" && os.Getenv("BENCH_DATABASE") != "" {
		environ = append(environ, "TASKWEIR_REDIS_URL="+url)
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
	resp, err := http.PostForm(a.URL()+"/goodjob/application", url.Values{"appName": {"bench"}, "linkUrl": {"http://127.0.0.1:9/"}})
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
	raw, _ = io.ReadAll(resp.Body)
	resp.Body.Close()
	if err := json.Unmarshal(raw, &key); err != nil || key.Key == "" {
		b.Fatalf("%s %v", raw, err)
	}
	zone, _ := time.LoadLocation("Asia/Shanghai")
	content := `{"user":"someone@example.com","text":"` + strings.Repeat("x", 140) + `","n":42}`
	native := `{"kind":"goodjob.callback","payload":` + content + `}`
	submit := func(body string) []byte {
		return []byte(fmt.Sprintf("POST /v1/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", key.Key, len(body), body))
	}
	nativeRequest := submit(native)
	escaped := url.QueryEscape(content)
	var serial atomic.Int64
	run := rand.Text()[:8] // the Redis of the tests remembers those of other runs
	stamp := time.Now().In(zone).Format("2006-01-02 15:04:05")
	signed := func() []byte {
		n := strconv.FormatInt(serial.Add(1), 10)
		sum := md5.Sum([]byte("app_key=" + made.Data.AppKey + "&content=" + content + "&nonce_str=" + run + n + "&taskNo=a" + n + "&timestamp=" + stamp + "&version=1.0" + made.Data.SecretKey))
		body := "taskNo=a" + n + "&content=" + escaped
		return []byte("POST /goodjob/task/create HTTP/1.1\r\nHost: x\r\napp_key: " + made.Data.AppKey + "\r\nnonce_str: " + run + n + "\r\ntimestamp: " + stamp +
			"\r\nversion: 1.0\r\nsignature: " + hex.EncodeToString(sum[:]) + "\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	}
	alike := func() []byte { // the task that a signed create makes
		return submit(`{"kind":"goodjob.callback","payload":` + content + `,"uniqueKey":"a` + strconv.FormatInt(serial.Add(1), 10) + `","uniqueScope":"until_due","timeoutMs":30000,` +
			`"retry":{"policy":"linear","baseMs":5000,"capMs":3600000,"jitter":0,"max":3}}`)
	}
	addr := strings.TrimPrefix(a.URL(), "http://")
	for round := range 2 {
		b.Run(fmt.Sprintf("native-%d", round), func(b *testing.B) { compattest.Hammer(b, addr, "201", func() []byte { return nativeRequest }) })
		b.Run(fmt.Sprintf("native-alike-%d", round), func(b *testing.B) { compattest.Hammer(b, addr, "201", alike) })
		b.Run(fmt.Sprintf("signed-%d", round), func(b *testing.B) { compattest.Hammer(b, addr, `"code":200`, signed) })
	}
}
