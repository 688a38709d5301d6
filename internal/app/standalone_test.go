package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// newStandalone starts one in a folder, with settings beyond those of every test. It is stopped with the test.
func newStandalone(t *testing.T, dir string, environ ...string) *App {
	t.Helper()
	a, err := tryStandalone(t, dir, environ...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return a
}

func tryStandalone(t *testing.T, dir string, environ ...string) (*App, error) {
	t.Helper()
	cfg, err := config.Load(config.Standalone, nil, append([]string{"TASKWEIR_HTTP_ADDR=127.0.0.1:0", "TASKWEIR_DATA_DIR=" + dir}, environ...))
	if err != nil {
		t.Fatal(err)
	}
	return Start(t.Context(), cfg, Options{Logger: testLog(t)})
}

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// call is one request of a client with the bootstrap key. It decodes the answer and gives the status.
func (a *App) call(t *testing.T, method, path, body string, into any) int {
	t.Helper()
	return a.callAs(t, a.APIKey(), method, path, body, into)
}

func (a *App) callAs(t *testing.T, key, method, path, body string, into any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, a.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatalf("%s %s: %s: %v", method, path, raw, err)
		}
	}
	return res.StatusCode
}

func (a *App) submit(t *testing.T, body string) apiv1.Task {
	t.Helper()
	var got apiv1.Task
	if status := a.call(t, "POST", "/v1/tasks", body, &got); status != http.StatusCreated {
		t.Fatalf("submit %s: status %d", body, status)
	}
	return got
}

func (a *App) wait(t *testing.T, id apiv1.ID) apiv1.Task {
	t.Helper()
	var got apiv1.Task
	if status := a.call(t, "GET", fmt.Sprintf("/v1/tasks/%s?wait=20s", id), "", &got); status != http.StatusOK {
		t.Fatalf("get %s: status %d", id, status)
	}
	return got
}

func TestATaskIsExecuted(t *testing.T) {
	a := newStandalone(t, t.TempDir())
	got := a.wait(t, a.submit(t, `{"kind":"echo","payload":{ "hello" : 1.50 }}`).ID)
	if got.State != "succeeded" || string(got.Result) != `{ "hello" : 1.50 }` {
		t.Errorf("state %s, result %s: want the payload byte for byte", got.State, got.Result)
	}
}

func TestDemoShowsThreeTasksToTheirEnd(t *testing.T) {
	a := newStandalone(t, t.TempDir())
	var out bytes.Buffer
	if err := a.Demo(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"greet  queued", "greet  succeeded", "later  scheduled", "later  succeeded", "attempt 1 failed", "attempt 2",
		"flaky  succeeded", a.URL(), a.APIKey(), "curl"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the demo does not show %q:\n%s", want, out.String())
		}
	}
}

func TestARestartGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, err := tryStandalone(t, dir, "TASKWEIR_DRAIN_TIME=100ms")
	if err != nil {
		t.Fatal(err)
	}
	delayed := a.submit(t, `{"kind":"echo","payload":1,"delayMs":1500}`)
	long := a.submit(t, `{"kind":"sleep","payload":{"ms":1000}}`)
	key := a.APIKey()
	waitState(t, a, long.ID, "running")
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}

	b := newStandalone(t, dir)
	if b.APIKey() != key {
		t.Error("the API key changed with the restart")
	}
	for _, id := range []apiv1.ID{delayed.ID, long.ID} {
		if got := b.wait(t, id); got.State != "succeeded" {
			t.Errorf("task %s after the restart: %s", id, got.State)
		}
	}
	got := b.wait(t, long.ID)
	if got.Failures != 0 || len(got.Attempts) != 2 || got.Attempts[0].Outcome != "released" {
		t.Errorf("the drained attempt must be released and count nothing: %d failures, %+v", got.Failures, got.Attempts)
	}
}

func TestTwoStandalonesSideBySide(t *testing.T) {
	a, b := newStandalone(t, t.TempDir()), newStandalone(t, t.TempDir())
	for _, s := range []*App{a, b} {
		if got := s.wait(t, s.submit(t, `{"kind":"sleep","payload":{"ms":0}}`).ID); got.State != "succeeded" {
			t.Errorf("state %s", got.State)
		}
	}
	if a.APIKey() == b.APIKey() {
		t.Error("both made the same key")
	}
}

func TestASecondProcessOnTheDataFolderIsRefused(t *testing.T) {
	dir := t.TempDir()
	newStandalone(t, dir)
	_, err := tryStandalone(t, dir)
	if err == nil {
		t.Fatal("a second standalone started in the same data folder")
	}
	for _, want := range []string{dir, "MySQL", "TASKWEIR_DATABASE_URL", "TASKWEIR_DATA_DIR"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %s", err, want)
		}
	}
}

func TestATakenPortIsNamedByItsSetting(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = tryStandalone(t, t.TempDir(), "TASKWEIR_HTTP_ADDR="+l.Addr().String())
	if err == nil || !strings.Contains(err.Error(), "TASKWEIR_HTTP_ADDR") {
		t.Errorf("error %v does not name TASKWEIR_HTTP_ADDR", err)
	}
}

func TestKeysAreReadableByTheOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	newStandalone(t, dir)
	for _, name := range []string{config.BootstrapKeyFile, config.EncryptionKeyFile, config.ClusterKeyFile, config.StandaloneFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != fs.FileMode(0o600) {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	info, err := config.ReadStandalone(dir)
	if err != nil || !info.APIKey.IsSet() {
		t.Errorf("the command line does not find the standalone: %v", err)
	}
}

func TestADamagedKeyIsNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, config.EncryptionKeyFile), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tryStandalone(t, dir); err == nil || !strings.Contains(err.Error(), config.EncryptionKeyFile) {
		t.Errorf("error %v does not name the file", err)
	}
}

func TestServeEndsWhenItsStartedFunctionReturns(t *testing.T) {
	cfg, err := config.Load(config.Standalone, nil, []string{"TASKWEIR_HTTP_ADDR=127.0.0.1:0", "TASKWEIR_DATA_DIR=" + t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	var url string
	err = Serve(t.Context(), cfg, Options{Logger: testLog(t), ExitWhenStartedReturns: true}, func(_ context.Context, a *App) error {
		url = a.URL()
		return nil
	})
	if err != nil || url == "" {
		t.Errorf("served at %q, error %v", url, err)
	}
}

func TestAPausedAppWaitsWithoutUsingAttempts(t *testing.T) {
	t.Parallel()
	a := newStandalone(t, t.TempDir())
	var apps apiv1.List[apiv1.App]
	if status := a.call(t, "GET", "/v1/apps", "", &apps); status != http.StatusOK || len(apps.Items) != 2 || apps.Items[0].Name != "default" {
		t.Fatalf("apps (its own, and the platform's): status %d, %+v", status, apps)
	}
	pause := func(paused bool) {
		if status := a.call(t, "PATCH", "/v1/apps/"+apps.Items[0].ID, fmt.Sprintf(`{"paused":%v}`, paused), nil); status != http.StatusOK {
			t.Fatalf("pause %v: status %d", paused, status)
		}
	}
	pause(true)
	time.Sleep(2 * pausedEvery) // the bound within which writers notice
	id := a.submit(t, `{"kind":"echo"}`).ID
	var held apiv1.Task
	if a.call(t, "GET", "/v1/tasks/"+id.String()+"?wait=1s", "", &held); held.State != "queued" || held.Verdict == nil || held.Verdict.Code != "app_paused" {
		t.Errorf("state %s, verdict %+v: want queued, app_paused", held.State, held.Verdict)
	}
	pause(false)
	if got := a.wait(t, id); got.State != "succeeded" || len(got.Attempts) != 1 {
		t.Errorf("after resuming: %s, %d attempts", got.State, len(got.Attempts))
	}
}

func waitState(t *testing.T, a *App, id apiv1.ID, state string) {
	t.Helper()
	waitFor(t, a, id.String(), func(got apiv1.Task) bool { return got.State == state })
}

func TestASlowClientDoesNotHoldUpTheEnd(t *testing.T) {
	a, err := tryStandalone(t, t.TempDir(), "TASKWEIR_DRAIN_TIME=1s", "TASKWEIR_WORKER_GRACE=100ms")
	if err != nil {
		t.Fatal(err)
	}
	waitState(t, a, a.submit(t, `{"kind":"sleep","payload":{"ms":60000}}`).ID, "running")
	conn, err := net.Dial("tcp", a.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{", a.APIKey())
	// The server has the request when another one, sent after it, is answered.
	a.call(t, "GET", "/healthz", "", nil)
	began := time.Now()
	if err := a.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %s, want at most the drain time and 2 s", took)
	}
}
