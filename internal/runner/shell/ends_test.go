//go:build linux

package shell

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// fifo makes a named pipe: opening it waits for the other side, so that scripts and tests meet without sleeping.
func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// read waits until a script has written to a fifo, and gives that.
func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return strings.TrimSpace(string(b))
}

// gone waits for the end of processes. It looks often, for a minute at most: nobody tells of the end of another's child.
func gone(t *testing.T, pids string) {
	t.Helper()
	for _, f := range strings.Fields(pids) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			t.Fatalf("pids %q", pids)
		}
		tick, late := time.NewTicker(2*time.Millisecond), time.After(time.Minute)
		for alive(pid) {
			select {
			case <-tick.C:
				continue
			case <-late:
				t.Errorf("process %d lives on", pid)
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			break
		}
		tick.Stop()
	}
}

// alive reports whether a process runs; a zombie, which the system's init has not collected yet, does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(b, []byte(") "))
	return len(rest) > 0 && rest[0] != 'Z' && rest[0] != 'X'
}

func TestAnObeyedEndIsNoSuccess(t *testing.T) {
	for _, code := range []int{0, 5} {
		up := fifo(t)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { read(t, up); cancel() }()
		res := run(t, ctx, m{"script": fmt.Sprintf("trap 'echo tidied; exit %d' TERM; echo > %s; while :; do sleep 0.02; done 2>/dev/null", code, up)})
		want := map[int]string{0: "interrupted", 5: "exit_5"}[code]
		if res.Outcome != task.OutcomeFailed || res.Permanent || res.ErrCode != want || string(res.Log) != "tidied\n" {
			t.Errorf("exit code %d after TERM: %+v, log %q", code, res, res.Log)
		}
	}
}

func TestNothingStartsAfterTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	proof := filepath.Join(t.TempDir(), "proof")
	res := run(t, ctx, m{"script": "touch " + proof})
	if _, err := os.Stat(proof); err == nil || res.ErrCode != "interrupted" {
		t.Errorf("%+v, file %v", res, err)
	}
}

// TestTERMReachesTheWholeGroup, and what does not mind it is killed with the rest.
func TestTERMReachesTheWholeGroup(t *testing.T) {
	up := fifo(t)
	ctx, cancel := context.WithCancel(t.Context())
	pids := make(chan string, 1)
	go func() { pids <- read(t, up); cancel() }()
	res := run(t, ctx, m{"script": `
		(trap 'echo child told; exit' TERM; touch a; while :; do sleep 0.02; done 2>/dev/null) & a=$!
		(trap '' TERM; touch b; while :; do sleep 0.02; done) & b=$!
		trap 'wait $a; echo parent told; exit 3' TERM
		while [ ! -e a ] || [ ! -e b ]; do sleep 0.01; done
		echo $$ $a $b > ` + up + `
		while :; do sleep 0.02; done 2>/dev/null`})
	if log := string(res.Log); res.ErrCode != "exit_3" || !strings.Contains(log, "child told\n") || !strings.HasSuffix(log, "parent told\n") {
		t.Errorf("%+v, log %q", res, log)
	}
	gone(t, <-pids)
}

// TestWhatStaysBehindIsKilled: children in the background, in groups and sessions of their own, which hold the output open.
func TestWhatStaysBehindIsKilled(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	res := run(t, t.Context(), m{"script": `
		sleep 1000 & echo $! >> ` + pids + `
		setsid sh -c 'echo $$ >> ` + pids + `; trap "" TERM HUP; sleep 1000' &
		(setsid sh -c 'sleep 1000 & echo $! $$ >> ` + pids + `; wait' &)
		while [ $(cat ` + pids + ` | wc -w) -lt 4 ]; do sleep 0.01; done
		echo left; exit 4`})
	if res.ErrCode != "exit_4" || string(res.Log) != "left\n" {
		t.Errorf("%+v, log %q", res, res.Log)
	}
	b, _ := os.ReadFile(pids)
	if n := len(strings.Fields(string(b))); n != 4 {
		t.Errorf("%d processes: %q", n, b)
	}
	gone(t, string(b))
}

// TestALongScriptLeavesNoZombies: it makes orphans, which the supervisor adopts, and looks at the supervisor's children.
func TestALongScriptLeavesNoZombies(t *testing.T) {
	res := run(t, t.Context(), m{"script": `
		i=0; while [ $i -lt 20 ]; do (true &); i=$((i+1)); done
		i=0; while [ $i -lt 500 ]; do
			n=$(cat /proc/$PPID/task/*/children | wc -w)
			[ $n -le 1 ] && { echo none; exit; }
			sleep 0.01; i=$((i+1))
		done
		echo $n children`})
	if string(res.Log) != "none\n" {
		t.Errorf("%+v, log %q", res, res.Log)
	}
}

func TestLostSupervisorTakesItsGroupAlong(t *testing.T) {
	up := fifo(t)
	pids := make(chan string, 1)
	go func() {
		all := read(t, up)
		supervisor, rest, _ := strings.Cut(all, " ")
		pid, err := strconv.Atoi(supervisor)
		if err != nil {
			t.Error(err)
		} else if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		pids <- rest
	}()
	res := run(t, t.Context(), m{"script": "sleep 1000 & echo $PPID $$ $! > " + up + "; wait"})
	if res.Outcome != task.OutcomeFailed || res.Permanent || res.ErrCode != "supervisor_lost" || !strings.Contains(res.ErrMessage, "killed") {
		t.Errorf("%+v", res)
	}
	gone(t, <-pids)
}

// TestDeadWorkersScripts: the worker is killed with -9 while its script waits on a child that left the group.
func TestDeadWorkersScripts(t *testing.T) {
	up := fifo(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victim+"=trap '' TERM HUP PIPE; setsid sleep 1000 & echo $PPID $$ $! $0 > "+up+"; wait")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(read(t, up))
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if len(fields) != 4 {
		t.Fatalf("%q", fields)
	}
	gone(t, strings.Join(fields[:3], " "))
	if _, err := os.Stat(fields[3]); !os.IsNotExist(err) {
		t.Errorf("the script's file %s stays: %v", fields[3], err)
	}
}

func TestEveryExitCode(t *testing.T) {
	for _, code := range []int{1, 2, 126, 127, 128, 143, 255} {
		res := run(t, t.Context(), m{"command": "sh", "args": []string{"-c", "exit " + strconv.Itoa(code)}})
		if res.Outcome != task.OutcomeFailed || res.Permanent || res.ErrCode != "exit_"+strconv.Itoa(code) || res.HTTPStatus != 0 {
			t.Errorf("%d: %+v", code, res)
		}
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGSEGV, syscall.SIGUSR1} {
		if res := run(t, t.Context(), m{"script": fmt.Sprintf("kill -%d $$", sig)}); res.ErrCode != fmt.Sprintf("signal_%d", sig) || !strings.Contains(res.ErrMessage, sig.String()) {
			t.Errorf("%v: %+v", sig, res)
		}
	}
}

func TestScriptsStartWithDefaultSignalsAndNoInput(t *testing.T) {
	// As if the worker had been started with a file that it knows nothing of.
	inherited, err := syscall.Open(os.DevNull, syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(inherited)
	res := run(t, t.Context(), m{"script": `grep -E 'Sig(Ign|Blk)' /proc/self/status | tr -d '\t'; wc -c; ls /proc/self/fd | wc -l; readlink /proc/self/fd/0`})
	// Four files: the three standard ones and the folder that ls reads.
	if log := string(res.Log); !strings.Contains(log, "SigBlk:0000000000000000\n") || !strings.HasSuffix(log, "0\n4\n/dev/null\n") {
		t.Errorf("%+v, log %q", res, log)
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE} {
		if res := run(t, t.Context(), m{"script": fmt.Sprintf("trap 'exit 9' %d; kill -%d $$; exit 1", sig, sig)}); res.ErrCode != "exit_9" {
			t.Errorf("%v cannot be trapped: %+v", sig, res)
		}
	}
}

func TestTheScriptsFile(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	res := run(t, t.Context(), m{"script": "stat -c %a $0; echo $0; pwd"})
	lines := strings.Fields(string(res.Log))
	if len(lines) != 3 || lines[0] != "600" || filepath.Dir(lines[1]) != temp {
		t.Fatalf("%+v, log %q", res, res.Log)
	}
	if _, err := os.Stat(lines[1]); !os.IsNotExist(err) {
		t.Errorf("the file stays: %v", err)
	}
}

// TestArgumentsUpToTheSystemsLimit: what is accepted at submit can be started, what cannot is refused by name.
func TestArgumentsUpToTheSystemsLimit(t *testing.T) {
	most := strings.Repeat("x", maxText)
	for name, c := range map[string]struct {
		payload m
		field   string
	}{
		"longest argument":  {m{"script": "echo ${#1}", "args": []string{most}}, ""},
		"argument too long": {m{"script": "echo", "args": []string{"a", most + "x"}}, "args[1]"},
		"longest variable":  {m{"script": "echo $((${#V} + 2))", "env": m{"V": most[2:]}}, ""},
		"variable too long": {m{"script": "echo", "env": m{"V": most[1:]}}, "env.V"},
		"command too long":  {m{"command": most + "x"}, "command"},
		"too many":          {m{"script": "echo", "args": make([]string, maxArgs+1)}, "args"},
		"long script":       {m{"script": "# " + most + most[:100<<10] + "\necho 131071"}, ""},
	} {
		raw := payloadOf(c.payload)
		wrong := Check(raw)
		res := run(t, t.Context(), c.payload)
		switch {
		case c.field == "":
			if wrong != nil || strings.TrimSpace(string(res.Log)) != strconv.Itoa(maxText) {
				t.Errorf("%s: %v, %s, log %.40q", name, wrong, res.ErrMessage, res.Log)
			}
		case len(wrong) != 1 || wrong[0].Field != c.field || wrong[0].Rule != "max_length":
			t.Errorf("%s: %.100v", name, wrong)
		case !res.Permanent || res.ErrCode != "invalid_payload":
			t.Errorf("%s: %+v", name, res)
		}
	}
	// Every argument as long as the request allows, together.
	many := make([]string, maxArgs)
	for i := range many {
		many[i] = strings.Repeat("y", 1000)
	}
	if res := run(t, t.Context(), m{"script": "echo $#", "args": many}); string(res.Log) != "256\n" {
		t.Errorf("%s, log %q", res.ErrMessage, res.Log)
	}
}

func TestEnvironmentIsExactlyThis(t *testing.T) {
	t.Setenv("LANG", "C.UTF-8")
	res := run(t, t.Context(), m{"command": "env", "env": m{"PATH": os.Getenv("PATH"), "HOME": "/nowhere", "LD_X": "a=b\nc"}})
	want := map[string]bool{
		"TASKWEIR_TASK_ID=5": true, "TASKWEIR_ATTEMPT_ID=6": true, "TASKWEIR_EPOCH=7": true, "TASKWEIR_QUEUE=q": true,
		"LANG=C.UTF-8": true, "HOME=/nowhere": true, "PATH=" + os.Getenv("PATH"): true, "LD_X=a=b": true, "c": true,
	}
	lines := strings.Split(strings.TrimSpace(string(res.Log)), "\n")
	for _, l := range lines {
		if !want[l] {
			t.Errorf("unexpected: %s", l)
		}
	}
	if len(lines) != len(want) {
		t.Errorf("%d lines, want %d: %q", len(lines), len(want), lines)
	}
}

// TestOutputAtTheLimit: both streams in the order they were written, the last 64 KiB exactly.
func TestOutputAtTheLimit(t *testing.T) {
	for _, size := range []int{task.MaxLog - 1, task.MaxLog, task.MaxLog + 1, 3*task.MaxLog + 7} {
		res := run(t, t.Context(), m{"script": fmt.Sprintf("head -c %d /dev/zero | tr '\\0' a >&2; printf z", size-1)})
		want := strings.Repeat("a", min(size, task.MaxLog)-1) + "z"
		if string(res.Log) != want {
			t.Errorf("%d bytes written, %d kept", size, len(res.Log))
		}
	}
	if res := run(t, t.Context(), m{"script": "for i in 1 2 3 4 5; do echo out$i; echo err$i >&2; done"}); string(res.Log) != "out1\nerr1\nout2\nerr2\nout3\nerr3\nout4\nerr4\nout5\nerr5\n" {
		t.Errorf("log %q", res.Log)
	}
	if res := run(t, t.Context(), m{"script": ":"}); res.Log != nil || res.Outcome != task.OutcomeSucceeded {
		t.Errorf("%+v", res)
	}
}

// TestScriptsAtOnce for the race detector; descriptors do not leak into other scripts, or nobody would see an end.
func TestScriptsAtOnce(t *testing.T) {
	for i := range 8 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			if res := run(t, t.Context(), m{"script": "echo $1", "args": []string{strconv.Itoa(i)}}); string(res.Log) != strconv.Itoa(i)+"\n" {
				t.Errorf("%+v, log %q", res, res.Log)
			}
		})
	}
}

// FuzzOrder: what the worker writes is what the supervisor reads.
func FuzzOrder(f *testing.F) {
	f.Add("echo", "a\nb", "c\u2028")
	f.Fuzz(func(t *testing.T, script, arg, value string) {
		in := order{Script: strings.ToValidUTF8(script, ""), Argv: []string{strings.ToValidUTF8(arg, "")}, Env: []string{"A=" + strings.ToValidUTF8(value, "")}}
		text, err := json.Marshal(in)
		if err != nil || bytes.IndexByte(text, '\n') >= 0 {
			t.Fatalf("%s %v", text, err)
		}
		var out order
		if err := json.Unmarshal(text, &out); err != nil || out.Script != in.Script || out.Argv[0] != in.Argv[0] || out.Env[0] != in.Env[0] {
			t.Errorf("%+v, want %+v, %v", out, in, err)
		}
	})
}
