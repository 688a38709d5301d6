package testkit

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestFreePortIsOutsideTheEphemeralRange(t *testing.T) {
	for range 20 {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if port < firstPort || port >= lastPort {
			t.Fatalf("port %d", port)
		}
	}
}

// A server takes a moment until it listens on its port: nobody else may be given that meanwhile.
func TestAPortIsGivenOnce(t *testing.T) {
	seen := map[int]bool{}
	for range 1_000 {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] {
			t.Fatalf("port %d twice", port)
		}
		seen[port] = true
	}
}

func TestProcessThatEndsBeforeItIsReadyShowsItsLog(t *testing.T) {
	_, err := Start(t.Context(), Spec{Name: "broken", Path: "/bin/sh", Args: []string{"-c", "echo no such disk; exit 3"},
		Log: filepath.Join(t.TempDir(), "log"), Ready: func(context.Context) error { return errors.New("not yet") }})
	if !errors.Is(err, errEnded) || !strings.Contains(err.Error(), "no such disk") || !strings.Contains(err.Error(), "exit status 3") {
		t.Fatal(err)
	}
}

func TestProcessStopKillRestart(t *testing.T) {
	var out bytes.Buffer
	log, starts := filepath.Join(t.TempDir(), "log"), 0
	p, err := Start(t.Context(), Spec{Name: "sleeper", Path: "/bin/sh", Args: []string{"-c", "echo up; exec sleep 60"}, Log: log, Output: &out,
		Ready: func(context.Context) error {
			if raw, err := os.ReadFile(log); err != nil || bytes.Count(raw, []byte("up\n")) <= starts {
				return errors.New("not up")
			}
			starts++
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Restart(t.Context()); !errors.Is(err, errAlreadyRunning) {
		t.Fatal("restart of a running process:", err)
	}
	first := p.PID()
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.Running() || p.ExitCode() != -1 {
		t.Fatal("a stopped process runs, or was not ended by a signal:", p.ExitCode())
	}
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.PID() == first {
		t.Fatal("the same process again")
	}
	p.Kill()
	p.Kill()
	if p.Running() {
		t.Fatal("a killed process runs")
	}
	if n := strings.Count(p.Tail(100), "up\n"); n != 2 || strings.Count(out.String(), "up\n") != 2 {
		t.Fatalf("output of both starts: log %q, writer %q", p.Tail(100), out.String())
	}
}

func TestProcessThatIgnoresSIGTERMIsKilled(t *testing.T) {
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready")
	p, err := Start(t.Context(), Spec{Name: "stubborn", Path: "/bin/sh", StopWait: 200 * time.Millisecond, Log: filepath.Join(dir, "log"),
		Args:  []string{"-c", "trap '' TERM; : > " + ready + "; while :; do sleep 1; done"},
		Ready: func(context.Context) error { _, err := os.Stat(ready); return err }})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); !errors.Is(err, errHadToKill) {
		t.Fatal(err)
	}
	if p.Running() {
		t.Fatal("it still runs")
	}
}

// The child of a killed parent must not outlive it.
func TestChildDiesWithItsParent(t *testing.T) {
	if os.Getenv("TESTKIT_PARENT") == "1" {
		p, err := Start(t.Context(), Spec{Name: "child", Path: "/bin/sleep", Args: []string{"60"}, Log: os.DevNull})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(os.Getenv("TESTKIT_PIDFILE"), []byte(strconv.Itoa(p.PID())), 0o600); err != nil {
			t.Fatal(err)
		}
		me, err := os.FindProcess(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		_ = me.Kill() // does not return
		select {}
	}
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("skipped: only Linux lets children die with their parent")
	}
	file := filepath.Join(t.TempDir(), "pid")
	cmd := exec.Command(os.Args[0], "-test.run=^TestChildDiesWithItsParent$")
	cmd.Env = append(os.Environ(), "TESTKIT_PARENT=1", "TESTKIT_PIDFILE="+file)
	_ = cmd.Run() // killed, as it should be
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + string(raw) + "/stat")
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("child %s outlived its parent: %s", raw, stat)
		}
	}
}

func fileExists(path string) bool { _, err := os.Stat(path); return err == nil }

// fakeApt writes its arguments into a file, and whether services were held back while it ran.
func fakeApt(t *testing.T, policy string) (path, log string) {
	t.Helper()
	dir := t.TempDir()
	path, log = filepath.Join(dir, "apt-get"), filepath.Join(dir, "calls")
	script := "#!/bin/sh\necho \"$DEBIAN_FRONTEND $* $(sed -n 's/^exit //p' " + policy + ")\" >> " + log + "\n"
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path, log
}

var two = []Missing{{What: "MariaDB server", Package: "mariadb-server"}, {What: "C compiler", Package: "gcc libc6-dev"}, {What: "nsqd"}}

func TestInstallAsksAptForWhatIsMissingOnly(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root installs packages")
	}
	t.Setenv("TASKWEIR_TEST_INSTALL", "1")
	policy := filepath.Join(t.TempDir(), "policy-rc.d")
	apt, log := fakeApt(t, policy)
	var out bytes.Buffer
	if err := (Installer{Out: &out, AptGet: apt, Policy: policy}).Install(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	calls, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	want := "noninteractive update -q 101\nnoninteractive install -q -y --no-install-recommends mariadb-server gcc libc6-dev 101\n"
	if string(calls) != want {
		t.Fatalf("apt-get was called\n%swant\n%s", calls, want)
	}
	if fileExists(policy) {
		t.Fatal("services are still held back")
	}
	if !strings.Contains(out.String(), "mariadb-server, gcc, libc6-dev") {
		t.Fatal("not announced:", out.String())
	}
}

func TestInstallLeavesTheMachinesOwnServicePolicy(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root installs packages")
	}
	t.Setenv("TASKWEIR_TEST_INSTALL", "")
	policy := filepath.Join(t.TempDir(), "policy-rc.d")
	if err := os.WriteFile(policy, []byte("exit 7\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	apt, _ := fakeApt(t, policy)
	if err := (Installer{Out: &bytes.Buffer{}, AptGet: apt, Policy: policy}).Install(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(policy); err != nil || string(raw) != "exit 7\n" {
		t.Fatalf("policy is now %q, %v", raw, err)
	}
}

func TestInstallRefuses(t *testing.T) {
	policy := filepath.Join(t.TempDir(), "policy-rc.d")
	apt, log := fakeApt(t, policy)
	i := Installer{Out: &bytes.Buffer{}, AptGet: apt, Policy: policy}
	t.Setenv("TASKWEIR_TEST_INSTALL", "0")
	if err := i.Install(t.Context(), two); !errors.Is(err, ErrInstallOff) {
		t.Fatal(err)
	}
	t.Setenv("TASKWEIR_TEST_INSTALL", "maybe")
	if err := i.Install(t.Context(), two); !errors.Is(err, errInvalidFlag) {
		t.Fatal(err)
	}
	if err := i.Install(t.Context(), nil); err != nil {
		t.Fatal("nothing is missing:", err)
	}
	if fileExists(log) {
		t.Fatal("apt-get was called")
	}
}

func TestSweepRemovesFoldersOfDeadMakers(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dead := filepath.Join(os.TempDir(), "taskweir-999999999-x")
	if err := os.Mkdir(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	mine, err := TempDir()
	if err != nil {
		t.Fatal(err)
	}
	sweep()
	if fileExists(dead) || !fileExists(mine) {
		t.Fatalf("dead one is there: %v, mine is there: %v", fileExists(dead), fileExists(mine))
	}
}

func TestServersComeAndGo(t *testing.T) {
	if os.Getenv("TASKWEIR_TEST_MYSQL") == "" {
		Need(t, errors.New("no test servers; make test starts them"))
	}
	for _, m := range MissingServers(t.Context()) {
		Need(t, m.Err)
	}
	s, err := StartServers(t.Context(), ServersOptions{NSQDs: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if fileExists(s.Dir) {
			t.Error("the folder is still there")
		}
	})
	if len(s.TestEnv()) != 4 || len(s.Env("x")) != 4 {
		t.Fatal(s.TestEnv(), s.Env("x"))
	}
	if err := s.MariaDB.CreateDatabase(t.Context(), "kept"); err != nil {
		t.Fatal(err)
	}
	if err := s.MariaDB.CreateDatabase(t.Context(), "No;Good"); !errors.Is(err, errBadName) {
		t.Fatal(err)
	}
	if got, err := s.MariaDB.Query(t.Context(), "SELECT @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite"); err != nil || got != "1\t1" {
		t.Fatalf("durability %q, %v", got, err)
	}
	if got, err := s.MariaDB.Query(t.Context(), "SELECT @@tmpdir"); err != nil || !strings.HasPrefix(got, s.Dir) {
		t.Fatalf("the server shares its temporary folder with others: %q, %v", got, err)
	}
	s.MariaDB.Kill()
	if err := s.MariaDB.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := s.MariaDB.Query(t.Context(), "SHOW DATABASES LIKE 'kept'"); err != nil || got != "kept" {
		t.Fatalf("after kill -9: %q, %v", got, err)
	}
	for _, p := range []*Process{s.Redis.Process, s.NSQD[1].Process, s.Lookupd.Process} {
		if err := p.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := p.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
