package cli

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/internal/doctor"
)

const queued = `{"id":"7","app":"a","kind":"echo","queue":"default","priority":"normal","state":"queued","payload":{"n": 1.0},"createdAt":"2026-01-02T03:04:05.678Z","runAt":"2026-01-02T03:04:05.678Z","retry":{"policy":"exponential","max":3},"timeoutMs":60000,"attempts":[]}`

const done = `{"id":"7","app":"a","kind":"echo","queue":"default","priority":"normal","state":"succeeded","payload":{"n": 1.0},"result":{"n": 1.0},
 "createdAt":"2026-01-02T03:04:05.678Z","runAt":"2026-01-02T03:04:05.678Z","startedAt":"2026-01-02T03:04:05.680Z","finishedAt":"2026-01-02T03:04:06.000Z","retry":{"policy":"exponential","max":3},"timeoutMs":60000,
 "attempts":[{"id":"21","epoch":1,"worker":"3","startedAt":"2026-01-02T03:04:05.680Z","finishedAt":"2026-01-02T03:04:06.000Z","outcome":"succeeded"}]}`

func TestSubmitSendsWhatItWasTold(t *testing.T) {
	f := newFake(t, exchange{
		want:   "POST /v1/tasks",
		body:   `{"kind":"http","queue":"mail","priority":"high","delayMs":90000,"timeoutMs":-1,"retry":{"baseMs":250,"max":0},"uniqueKey":"u","labels":{"a":"b=c","d":""},"completionUrl":"https://x/y","payload":{"n": 1.0,"é":"<"}}`,
		status: 201, answer: queued,
	})
	run(t, f.url, "", "tasks", "submit", "http", "--queue=mail", "--priority=high", "--delay=90s", "--timeout=none", "--retry-max=0", "--retry-base=250ms",
		"--unique-key=u", "--completion-url=https://x/y", "--label=a=b=c", "--label=d=", "--idempotency-key=mine", `--payload={"n": 1.0,"é":"<"}`).expect(t, ExitOK, "7 queued\n")
	if f.keys[0] != "mine" {
		t.Errorf("idempotency key %q", f.keys[0])
	}
}

func TestPayloadComesFromFileAndStandardInput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.json")
	if err := os.WriteFile(path, []byte("[1, 2]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFake(t,
		exchange{want: "POST /v1/tasks", body: `{"kind":"echo","payload":[1, 2]}`, answer: queued},
		exchange{want: "POST /v1/tasks", body: `{"kind":"echo","payload":"x"}`, answer: queued},
		exchange{want: "POST /v1/tasks", body: `{"kind":"echo"}`, answer: queued})
	run(t, f.url, "", "tasks", "submit", "echo", "--payload=@"+path, "-o", "json").expect(t, ExitOK, queued+"\n")
	run(t, f.url, `"x"`, "tasks", "submit", "echo", "--payload", "-").expect(t, ExitOK)
	run(t, f.url, "", "tasks", "submit", "echo").expect(t, ExitOK)
	run(t, f.url, "", "tasks", "submit", "echo", "--payload=hello").expect(t, ExitUsage, "--payload: is no JSON")
	run(t, f.url, "", "tasks", "submit", "echo", "--payload=@/nowhere").expect(t, ExitUsage, "no such file")
}

func TestSubmitIsRepeatedUnderOneKey(t *testing.T) {
	f := newFake(t,
		exchange{want: "POST /v1/tasks", drop: true},
		exchange{want: "POST /v1/tasks", status: 503, answer: `{"status":503,"code":"database_unavailable","detail":"gone"}`, header: map[string]string{"Retry-After": "0"}},
		exchange{want: "POST /v1/tasks", status: 201, answer: queued})
	run(t, f.url, "", "tasks", "submit", "echo").expect(t, ExitOK, "7 queued")
	if f.keys[0] == "" || f.keys[1] != f.keys[0] || f.keys[2] != f.keys[0] {
		t.Errorf("keys %q", f.keys)
	}
}

func TestWhatMayHaveHappenedIsNotRepeated(t *testing.T) {
	f := newFake(t, exchange{want: "POST /v1/tasks/7/retry", drop: true})
	run(t, f.url, "", "tasks", "retry", "7").expect(t, ExitUnavailable, "no answer from "+f.url)
}

func TestExitCodesTellWhatHappened(t *testing.T) {
	for _, c := range []struct {
		status int
		answer string
		code   int
		says   []string
	}{
		{404, `{"status":404,"code":"task_not_found","detail":"no such task"}`, ExitNotFound, []string{"no such task (404 task_not_found)"}},
		{401, `{"status":401,"code":"unauthorized"}`, ExitCredentials, []string{"Unauthorized", "TASKWEIR_API_KEY"}},
		{403, `{"status":403,"code":"scope_too_small"}`, ExitCredentials, []string{"larger scope"}},
		{409, `{"status":409,"code":"task_not_final","detail":"it runs","taskId":"9"}`, ExitConflict, []string{"the other task: 9"}},
		{412, `{"status":412,"code":"precondition_failed"}`, ExitConflict, []string{"repeat the command"}},
		{413, `{"status":413,"code":"payload_too_large","detail":"too large"}`, ExitRefused, []string{"too large (413 payload_too_large)"}},
		{429, `{"status":429,"code":"too_many_waiting"}`, ExitUnavailable, nil},
		{422, `{"status":422,"code":"invalid","title":"Unprocessable","errors":[{"field":"kind","rule":"unknown","message":"no worker runs it"}]}`, ExitRefused, []string{"kind: no worker runs it"}},
		{500, `{"status":500,"code":"internal","requestId":"r1"}`, ExitFailure, []string{"request r1"}},
		{502, `<html>`, ExitUnavailable, []string{"does not answer as Taskweir does"}},
		{302, ``, ExitFailure, []string{"does not answer as Taskweir does"}},
		{503, `{"status":503,"code":"live_view_unavailable","detail":"Redis is gone"}`, ExitUnavailable, []string{"Redis is gone"}},
	} {
		f := newFake(t, exchange{want: "POST /v1/tasks/7/retry", body: `{"force":true}`, status: c.status, answer: c.answer})
		run(t, f.url, "", "tasks", "retry", "7", "--force").expect(t, c.code, c.says...)
	}
}

func TestARefusedTaskIsNotTheOtherTask(t *testing.T) {
	f := newFake(t, exchange{want: "POST /v1/tasks/7/retry", status: 409, answer: `{"status":409,"code":"not_retryable","detail":"it runs","taskId":"7"}`})
	r := run(t, f.url, "", "tasks", "retry", "7")
	r.expect(t, ExitConflict, "it runs (409 not_retryable)")
	if strings.Contains(r.err, "other task") {
		t.Errorf("%s", r.err)
	}
}

func TestUnreachableSaysHowToStart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	run(t, "http://"+l.Addr().String(), "", "tasks", "list").expect(t, ExitUnavailable, "nothing listens at", "taskweir standalone", "TASKWEIR_URL")
	runWith(t, Deps{Environ: []string{"TASKWEIR_DATA_DIR=/nowhere"}}, "", "queues").expect(t, ExitCredentials, "no API key", "TASKWEIR_API_KEY_FILE", "/nowhere")
}

func TestCommandLineMistakesAreNamed(t *testing.T) {
	for args, says := range map[string]string{
		"taks":                      `unknown command "taskweir taks"; did you mean tasks`,
		"tasks sumbit":              "did you mean submit?",
		"tasks submit":              "needs a kind",
		"tasks submit a b":          `argument "b" is one too many`,
		"tasks get x":               `"x" is not an id`,
		"tasks get":                 "at least one id",
		"tasks list --colour":       "unknown flag: --colour",
		"tasks list -o xml":         "must be table or json",
		"tasks submit echo --delay": "needs an argument",
		"tasks submit echo --delay=1s --run-at=2030-01-01T00:00:00Z": "keep one",
		"tasks submit echo --run-at=tomorrow":                        "is not a time",
		"tasks submit echo --timeout=long":                           "is no duration",
		"tasks submit echo --label=x":                                "is not key=value",
		"tasks list --url=ftp://x":                                   "url (flag --url): must be http",
		"queues stop":                                                "unknown command",
		"standalone now":                                             "one too many",
		"standalone --worker-slots=many":                             "worker.slots (flag --worker-slots)",
		"migrate sideways":                                           "unknown command",
	} {
		d := everything()
		d.Environ = []string{"TASKWEIR_API_KEY=" + testKey}
		runWith(t, d, "", strings.Fields(args)...).expect(t, ExitUsage, says)
	}
	d := everything()
	d.Environ = []string{"TASKWEIR_WORKER_SLOT=1"}
	runWith(t, d, "", "tasks", "list").expect(t, ExitUsage, "did you mean TASKWEIR_WORKER_SLOTS?")
}

func TestListsAreTables(t *testing.T) {
	f := newFake(t,
		exchange{want: "GET /v1/tasks?label=k%3Av%3Dw&limit=5&queue=mail&state=failed", answer: `{"items":[` + done + `,{"id":"8","state":"failed","reason":"exhausted","kind":"http","queue":"mail","priority":"low","createdAt":"2026-01-02T03:04:05.678Z","error":{"code":"http_status","message":"bad\u001b[31m\ngateway","httpStatus":502}}],"nextCursor":"abc"}`},
		exchange{want: "GET /v1/queues?limit=1000", answer: `{"items":[{"name":"default","paused":true,"depth":{"value":10000,"atLeast":true},"scheduled":{"value":1},"running":{"value":2},"oldestDueAt":"2026-01-02T03:04:05.678Z","oldestDueAgeMs":61000}]}`},
		exchange{want: "GET /v1/workers?all=true&limit=1000", answer: `{"items":[{"id":"3","state":"alive","host":"h","pid":12,"version":"v1","busy":2,"slots":256,"queues":[]}]}`},
		exchange{want: "GET /v1/workers/3", answer: `{"id":"3","state":"alive","host":"h","slots":256,"running":[{"task":"7","kind":"shell","queue":"default","epoch":2,"zombie":true}]}`})
	r := run(t, f.url, "", "tasks", "list", "--state=failed", "--queue=mail", "--label=k=v=w", "--limit=5")
	r.expect(t, ExitOK, "exhausted", "http_status 502: bad [31m gateway", "more: add --cursor abc", "320ms")
	if strings.Contains(r.out, "\x1b") {
		t.Error("an escape sequence of a server reached the terminal")
	}
	run(t, f.url, "", "queues").expect(t, ExitOK, "paused", "≥10000", "1m1s")
	run(t, f.url, "", "workers", "list", "--all").expect(t, ExitOK, "2/256", "all")
	run(t, f.url, "", "workers", "get", "3").expect(t, ExitOK, "zombie", "shell")
}

func TestActionsGoToEachName(t *testing.T) {
	f := newFake(t,
		exchange{want: "POST /v1/queues/a%2Fb/pause", answer: `{}`},
		exchange{want: "POST /v1/queues/c/pause", status: 404, answer: `{"status":404,"code":"queue_not_found","detail":"no such queue"}`},
		exchange{want: "POST /v1/queues/d/pause", answer: `{}`},
		exchange{want: "POST /v1/workers/3/drain", answer: `{"id":"3"}`},
		exchange{want: "POST /v1/tasks/7/cancel?wait=5s", answer: strings.Replace(queued, "queued", "cancelled", 1)},
		exchange{want: "POST /v1/tasks/7/cancel?wait=1s", status: 202, answer: strings.Replace(queued, `"queued"`, `"running","cancelRequestedAt":"2026-01-02T03:04:05.678Z"`, 1)},
		exchange{want: "POST /v1/tasks/7/retry", body: `{"payload":{"b": 2}}`, status: 201, answer: strings.Replace(queued, `"id":"7"`, `"id":"9","retryOf":"7"`, 1)},
		exchange{want: "POST /v1/tasks/7/run-now", answer: queued},
		exchange{want: "GET /v1/tasks/7/log", answer: "line 1\nline 2\n"})
	run(t, f.url, "", "queues", "pause", "a/b", "c", "d").expect(t, ExitNotFound, "a/b paused", "c: no such queue", "d paused")
	run(t, f.url, "", "workers", "drain", "3").expect(t, ExitOK, "3 draining")
	run(t, f.url, "", "tasks", "cancel", "7").expect(t, ExitOK, "7 cancelled")
	run(t, f.url, "", "tasks", "cancel", "7", "--wait=1s").expect(t, ExitOK, "7 running, told to stop")
	run(t, f.url, "", "tasks", "retry", "7", `--payload={"b": 2}`).expect(t, ExitOK, "9 queued, made from 7")
	run(t, f.url, "", "tasks", "run-now", "7").expect(t, ExitOK, "7 queued")
	if r := run(t, f.url, "", "tasks", "log", "7"); r.out != "line 1\nline 2\n" {
		t.Errorf("log %q", r.out)
	}
}

func TestGetShowsATaskWhole(t *testing.T) {
	f := newFake(t, exchange{want: "GET /v1/tasks/7", answer: done}, exchange{want: "GET /v1/tasks/7?wait=2s", answer: done})
	run(t, f.url, "", "tasks", "get", "7").expect(t, ExitOK, "state:       succeeded", `payload:     {"n": 1.0}`, "took:        320ms", "EPOCH", "21")
	if r := run(t, f.url, "", "tasks", "get", "7", "--wait=2s", "-o=json"); r.out != done+"\n" {
		t.Errorf("not byte for byte: %s", r.out)
	}
}

func TestSubmitWaitsUntilFinal(t *testing.T) {
	why := strings.TrimSuffix(strings.TrimSpace(queued), "}") + `,"verdict":{"code":"no_worker_for_queue","text":"no live worker serves it"}}`
	f := newFake(t,
		exchange{want: "POST /v1/tasks", status: 201, answer: queued},
		exchange{want: "GET /v1/tasks/7?wait=2s", answer: why},
		exchange{want: "GET /v1/tasks/7?wait=30s", answer: why},
		exchange{want: "GET /v1/tasks/7?wait=30s", answer: done},
		exchange{want: "POST /v1/tasks", status: 201, answer: queued},
		exchange{want: "GET /v1/tasks/7?wait=2s", answer: strings.Replace(done, `"state":"succeeded"`, `"state":"failed"`, 1)})
	r := run(t, f.url, "", "tasks", "submit", "echo", "--wait")
	r.expect(t, ExitOK, "succeeded", "result:")
	if n := strings.Count(r.err, "it waits: no_worker_for_queue: no live worker serves it"); n != 1 {
		t.Errorf("why it waits was told %d times: %s", n, r.err)
	}
	run(t, f.url, "", "tasks", "submit", "echo", "--wait", "-o", "json").expect(t, ExitTaskFailed, `"state":"failed"`)
}

func TestHooksGetTheirConfiguration(t *testing.T) {
	dir := t.TempDir()
	d := everything()
	d.Environ = []string{"TASKWEIR_DATA_DIR=" + dir}
	d.Standalone = func(_ context.Context, c *config.Config, o StandaloneOptions) error {
		if c.Role != config.Standalone || c.DataDir != dir || !o.Demo || !o.DemoExit || c.Worker.Slots != 3 {
			t.Errorf("got %+v with %+v", c, o)
		}
		return nil
	}
	d.Bench = func(_ context.Context, args []string) error {
		if strings.Join(args, " ") != "--tasks=5 -o json --help" {
			t.Errorf("bench got %q", args)
		}
		return nil
	}
	steps := []MigrationStep{{1, "init", 1_700_000_000_000}, {2, "more", 0}}
	d.Migrate = func(_ context.Context, c *config.Config, action string) ([]MigrationStep, error) {
		switch action {
		case "status":
			return steps, nil
		case "down":
			return steps[:1], errors.New("table is locked")
		}
		if c.Database.URL.Reveal() != "sqlite://"+dir+"/taskweir.db" {
			t.Errorf("database %s", c.Database.URL)
		}
		return nil, nil
	}
	runWith(t, d, "", "standalone", "--demo-exit", "--worker-slots=3").expect(t, ExitOK)
	runWith(t, d, "", "bench", "--tasks=5", "-o", "json", "--help").expect(t, ExitOK)
	runWith(t, d, "", "migrate", "up").expect(t, ExitOK, "nothing to do")
	runWith(t, d, "", "migrate", "status").expect(t, ExitOK, "0001", "applied 2023-11-1", "missing")
	runWith(t, d, "", "migrate", "down").expect(t, ExitFailure, "0001", "taken back", "table is locked")
	runWith(t, d, "", "migrate", "status", "-o", "json").expect(t, ExitOK, `"version":2,"name":"more","appliedAt":0`)
	runWith(t, d, "", "version").expect(t, ExitOK, "taskweir 1.2.3 go1.")
	runWith(t, d, "", "completion", "bash").expect(t, ExitOK, "taskweir")
	runWith(t, d, "", "--help").expect(t, ExitOK, "Exit codes", "standalone", "tasks")
}

func TestDoctorExitsWithItsVerdict(t *testing.T) {
	d := Deps{Environ: []string{"TASKWEIR_DATA_DIR=" + t.TempDir(), "TASKWEIR_DATABASE_URL=mysql://root@127.0.0.1:1/x"}}
	d.Probes.Database = func(context.Context, *config.Config) (doctor.Database, error) {
		return nil, errors.New("connection refused")
	}
	r := runWith(t, d, "", "doctor")
	r.expect(t, ExitFailure, "PROBLEM  database", "connection refused", "→ start the server", "encryption_key", "problems")
	r = runWith(t, d, "", "doctor", "-o", "json")
	var report doctor.Report
	if err := json.Unmarshal([]byte(r.out), &report); err != nil || report.Problems == 0 || r.err != "" {
		t.Errorf("%v: %s %s", err, r.out, r.err)
	}
}
