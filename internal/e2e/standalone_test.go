package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

func standalone(t *testing.T, o testkit.StandaloneOptions) *testkit.Standalone {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: -short")
	}
	o.Programs = programs(t)
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := testkit.StartStandalone(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	logsOnFailure(t, s.Process)
	return s
}

// The demo runs its three tasks, prints what a newcomer needs, and ends with code 0.
func TestDemoEndsWithSuccess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	port, err := testkit.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	p, err := testkit.Start(t.Context(), testkit.Spec{Name: "demo", Path: programs(t).Path("taskweir"), Args: []string{"standalone", "--demo", "--demo-exit"},
		Dir: dir, Log: filepath.Join(dir, "log"), Env: []string{"TASKWEIR_HTTP_ADDR=" + testkit.Loopback(port), "TASKWEIR_DATA_DIR=" + dir + "/data"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	select {
	case <-p.Done():
	case <-time.After(20 * time.Second):
		t.Fatalf("the demo still runs\n%s", p.Tail(8192))
	}
	out := p.Tail(16 << 10)
	if code := p.ExitCode(); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	for _, want := range []string{testkit.Loopback(port), "curl ", "Bearer ", "succeeded"} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo does not print %q:\n%s", want, out)
		}
	}
}

// kill -9 in the middle of everything, and a start on the same data: nothing is lost, nothing runs twice in one epoch, and
// what ran is rescued at once, without waiting for anybody's death to be noticed.
func TestStandaloneRestartsWithoutLoss(t *testing.T) {
	t.Parallel()
	s := standalone(t, testkit.StandaloneOptions{})
	api, rec := newClient(t, s.BaseURL, s.Key), newReceiver(t)
	slow := api.submit(t, call(rec, "/slow"))
	delayed := api.submit(t, strings.Replace(call(rec, "/ok"), "{", `{"delayMs":1500,`, 1))
	eventually(t, 5*time.Second, "the slow call runs", func() bool { _, ok := rec.seen(slow, 1); return ok })
	l := startLoad(t, api, rec)
	for range 2 {
		time.Sleep(700 * time.Millisecond) // load before each kill
		s.Kill()
		began := time.Now()
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Logf("started again in %v", time.Since(began).Round(time.Millisecond))
	}
	eventually(t, 5*time.Second, "the slow call was rescued at once, twice", func() bool { _, ok := rec.seen(slow, 3); return ok })
	l.stop(t)
	if task := api.final(t, delayed, 10*time.Second); task.State != "succeeded" {
		t.Errorf("the delayed task: %+v", task)
	}
	rec.check(t, []string{slow, delayed})
	api.must(t, "POST", "/v1/tasks/"+slow+"/cancel?wait=5s", "", nil)
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if code := s.ExitCode(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}

// A port that is taken is an error that names the setting.
func TestTakenPortNamesTheKey(t *testing.T) {
	t.Parallel()
	s := standalone(t, testkit.StandaloneOptions{})
	dir := t.TempDir()
	p, err := testkit.Start(t.Context(), testkit.Spec{Name: "second", Path: programs(t).Path("taskweir"), Args: []string{"standalone"}, Dir: dir, Log: filepath.Join(dir, "log"),
		Env: []string{"TASKWEIR_HTTP_ADDR=" + s.Addr, "TASKWEIR_DATA_DIR=" + dir + "/data"}})
	if err != nil {
		t.Fatal(err)
	}
	refuses(t, p, "TASKWEIR_HTTP_ADDR")
}

// Two on one data folder: the second refuses and says what to use instead.
func TestDataFolderIsLocked(t *testing.T) {
	t.Parallel()
	s := standalone(t, testkit.StandaloneOptions{})
	dir := t.TempDir()
	p, err := testkit.Start(t.Context(), testkit.Spec{Name: "second", Path: programs(t).Path("taskweir"), Args: []string{"standalone"}, Dir: dir, Log: filepath.Join(dir, "log"),
		Env: []string{"TASKWEIR_HTTP_ADDR=127.0.0.1:0", "TASKWEIR_DATA_DIR=" + s.Data}})
	if err != nil {
		t.Fatal(err)
	}
	refuses(t, p, "MySQL")
}

// Two side by side do not disturb each other: each runs its own tasks only.
func TestTwoStandalonesSideBySide(t *testing.T) {
	t.Parallel()
	both := []*testkit.Standalone{standalone(t, testkit.StandaloneOptions{}), standalone(t, testkit.StandaloneOptions{})}
	for i := range 10 {
		for _, s := range both {
			api := newClient(t, s.BaseURL, s.Key)
			// The two number their tasks alike; the payload tells them apart.
			id := api.submit(t, fmt.Sprintf(`{"kind":"echo","payload":{"of":%q,"i":%d}}`, s.Addr, i))
			if task := api.final(t, id, 5*time.Second); task.State != "succeeded" {
				t.Fatalf("%+v", task)
			}
			var task struct{ Result struct{ Of string } }
			api.must(t, "GET", "/v1/tasks/"+id, "", &task)
			if task.Result.Of != s.Addr {
				t.Fatalf("%s answered %q's task", s.Addr, task.Result.Of)
			}
		}
	}
}

// Keys that standalone makes are readable by their owner only, and the command line beside it finds them.
func TestStandaloneKeepsItsKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := standalone(t, testkit.StandaloneOptions{Dir: dir, Env: []string{"TASKWEIR_BOOTSTRAP_KEY="}})
	found := 0
	err := filepath.WalkDir(s.Data, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(strings.ToLower(d.Name()), "key") {
			return err
		}
		found++
		info, err := d.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil || found == 0 {
		t.Fatalf("%d key files in %s: %v", found, s.Data, err)
	}
	cli, err := testkit.Start(t.Context(), testkit.Spec{Name: "cli", Path: programs(t).Path("taskweir"), Args: []string{"queues"}, Dir: dir,
		Log: filepath.Join(dir, "cli.log"), Env: []string{"TASKWEIR_DATA_DIR=" + s.Data, "TASKWEIR_URL=" + s.BaseURL}})
	if err != nil {
		t.Fatal(err)
	}
	<-cli.Done()
	if code := cli.ExitCode(); code != 0 {
		t.Errorf("the command line beside it ended with code %d:\n%s", code, cli.Tail(4096))
	}
}
