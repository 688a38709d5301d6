//go:build unix

package shell

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

// victim makes this test program a worker that runs one script and is killed by the test.
const victim = "TASKWEIR_SHELL_TEST_SCRIPT"

func TestMain(m *testing.M) {
	MaybeSupervise()
	if script := os.Getenv(victim); script != "" {
		s, _ := New(Options{})
		s.Run(context.Background(), worker.Job{Payload: payloadOf(map[string]any{"script": script})})
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func payloadOf(v any) []byte { b, _ := json.Marshal(v); return b }

func run(t *testing.T, ctx context.Context, payload map[string]any) task.Result {
	t.Helper()
	s, err := New(Options{Dir: t.TempDir(), Grace: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return s.Run(ctx, worker.Job{TaskID: 5, AttemptID: 6, Epoch: 7, Queue: "q", Payload: payloadOf(payload)})
}

type m = map[string]any

func TestExitCodesAndOutput(t *testing.T) {
	for name, c := range map[string]struct {
		payload   m
		code, log string
	}{
		"success":             {m{"script": "echo out; echo err >&2"}, "", "out\nerr\n"},
		"exit code":           {m{"script": "echo x; exit 3"}, "exit_3", "x\n"},
		"signal":              {m{"script": "kill -9 $$"}, "signal_9", ""},
		"command":             {m{"command": "printf", "args": []string{"%s-%s", "a b", "$HOME"}}, "", "a b-$HOME"},
		"arguments":           {m{"script": "echo $1 $#", "args": []string{"one", "two"}}, "", "one 2\n"},
		"interpreter":         {m{"script": "echo $0 | wc -l", "interpreter": "bash -e"}, "", "1\n"},
		"missing command":     {m{"command": "no-such-program-here"}, "start_failed", ""},
		"missing interpreter": {m{"script": "x", "interpreter": "/no/such"}, "start_failed", ""},
		"no input":            {m{"script": "cat; echo end"}, "", "end\n"},
		"report is not open":  {m{"script": "(echo '{\"exit\":0}' >&3) 2>/dev/null; exit 4"}, "exit_4", ""},
		"background":          {m{"script": "sleep 1000 & echo started"}, "", "started\n"},
		"escaped":             {m{"script": "setsid sleep 1000 & sleep 0.1; echo started"}, "", "started\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := time.Now()
			res := run(t, t.Context(), c.payload)
			if res.ErrCode != c.code || string(res.Log) != c.log || (res.Outcome == task.OutcomeSucceeded) != (c.code == "") || res.Body != nil {
				t.Errorf("%+v, log %q", res, res.Log)
			}
			if time.Since(at) > 30*time.Second {
				t.Errorf("took %v", time.Since(at))
			}
		})
	}
}

func TestEnvironmentIsMinimal(t *testing.T) {
	t.Setenv("TASKWEIR_ENCRYPTION_KEY", "very secret")
	t.Setenv("AWS_SECRET", "very secret")
	res := run(t, t.Context(), m{"script": "env", "env": m{"MINE": "1", "LANG": "C"}})
	log := string(res.Log)
	for _, want := range []string{"TASKWEIR_TASK_ID=5", "TASKWEIR_ATTEMPT_ID=6", "TASKWEIR_EPOCH=7", "TASKWEIR_QUEUE=q", "MINE=1", "LANG=C", "PATH="} {
		if !strings.Contains(log, want) {
			t.Errorf("%s is missing in\n%s", want, log)
		}
	}
	if strings.Contains(log, "secret") || strings.Contains(log, "SUPERVISOR") {
		t.Errorf("the worker's environment is seen:\n%s", log)
	}
}

func TestOnlyTheTailOfTheOutputIsKept(t *testing.T) {
	res := run(t, t.Context(), m{"script": "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo the end"})
	if len(res.Log) != task.MaxLog || !strings.HasSuffix(string(res.Log), "x\nthe end\n") {
		t.Errorf("%d bytes kept, end %q", len(res.Log), res.Log[max(0, len(res.Log)-20):])
	}
}

func TestTailIsTheTail(t *testing.T) {
	for chunk := 1; chunk < 25; chunk++ {
		k, all := newTail(10), []byte{}
		for i := range 7 {
			b := bytes.Repeat([]byte{byte('a' + i)}, chunk)
			b[0] = byte('A' + i)
			k.write(b)
			all = append(all, b...)
			if want := all[max(0, len(all)-10):]; !bytes.Equal(k.bytes(), want) {
				t.Fatalf("chunks of %d: %q, want %q", chunk, k.bytes(), want)
			}
		}
	}
	if newTail(3).bytes() != nil {
		t.Error("nothing written is nothing kept")
	}
}

func TestEndOfTheContextTermsThenKillsTheGroup(t *testing.T) {
	for name, c := range map[string]struct{ script, code, log string }{
		"polite": {`trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.05; done 2>/dev/null`, "exit_9", "bye\n"},
		"deaf":   {`trap '' TERM; echo up; while :; do sleep 0.05; done`, "signal_9", "up\n"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			up := filepath.Join(dir, "up")
			ctx, cancel := context.WithCancel(t.Context())
			go func() { waitFor(t, up); cancel() }()
			res := run(t, ctx, m{"script": strings.Replace(c.script, "echo up", "echo up; touch "+up, 1)})
			if res.ErrCode != c.code || !strings.HasPrefix(string(res.Log), "up\n") || !strings.HasSuffix(string(res.Log), c.log) {
				t.Errorf("%+v, log %q", res, res.Log)
			}
		})
	}
}

// waitFor waits until a script has made a file.
func waitFor(t *testing.T, path string) []byte {
	for range 3000 {
		if b, err := os.ReadFile(path); err == nil && (len(b) > 0 || !strings.HasSuffix(path, "pids")) {
			return b
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s did not appear", path)
	return nil
}

func TestKilledWorkerTakesItsScriptsAlong(t *testing.T) {
	dir := t.TempDir()
	pids := filepath.Join(dir, "pids")
	script := fmt.Sprintf("sleep 1000 & a=$!; setsid sleep 1000 & b=$!; echo $$ $a $b > %[1]s.tmp; mv %[1]s.tmp %[1]s; wait", pids)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victim+"="+script)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(waitFor(t, pids)))
	if len(fields) != 3 {
		t.Fatalf("pids %v", fields)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for _, f := range fields {
		pid, _ := strconv.Atoi(f)
		gone := false
		for range 1000 {
			if gone = syscall.Kill(pid, 0) == syscall.ESRCH; gone {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if !gone {
			t.Errorf("process %d lives on", pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func TestCheck(t *testing.T) {
	for in, want := range map[string]string{
		`{"script":"x"}`: "", `{"command":"x","args":["a"],"env":{"A_1":"b"}}`: "", `{"script":"x","interpreter":"python3 -u"}`: "",
		`{}`: "script required", `{"script":"x","command":"y"}`: "command conflict", `{"command":"x","interpreter":"y"}`: "interpreter conflict",
		`{"script":"x","env":{"1A":""}}`: "env.1A pattern", `{"script":"x","env":{"A=B":""}}`: "env.A=B pattern", `{"script":"x","env":{"":""}}`: "env. pattern",
		`{"script":"x","env":{"TASKWEIR_EPOCH":"1"}}`: "env.TASKWEIR_EPOCH not_allowed", `{"script":"x\u0000"}`: "script pattern",
		`{"command":"x","args":["\u0000"]}`: "args[0] pattern", `{"command":"x","args":"y"}`: "args type", `{"shell":"x"}`: "shell unknown_field", `"x"`: " type",
		`{"script":"x","interpreter":" "}`: "interpreter max_length",
	} {
		got := ""
		if errs := Check([]byte(in)); len(errs) > 0 {
			got = errs[0].Field + " " + errs[0].Rule
		}
		if got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
	if res := run(t, t.Context(), m{}); !res.Permanent || res.ErrCode != "invalid_payload" {
		t.Errorf("%+v", res)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(`{"script":"x","env":{"A":"b"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if Check(raw) != nil {
			return
		}
		var p spec
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Fatal(err)
		}
		o := p.order("/", &worker.Job{})
		for _, e := range o.Env {
			if strings.IndexByte(e, 0) >= 0 {
				t.Fatalf("%q", e)
			}
		}
	})
}

func TestAProgramThatIsNoSupervisorIsRefused(t *testing.T) {
	asked.Store(false)
	defer asked.Store(true)
	if _, err := New(Options{}); !errors.Is(err, ErrNoSupervisor) {
		t.Errorf("error %v: such a program would start itself for ever", err)
	}
}
