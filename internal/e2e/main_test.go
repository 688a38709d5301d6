package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/testkit"
)

// built holds the programs, built once for all tests.
var built = sync.OnceValues(func() (testkit.Programs, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return testkit.BuildPrograms(ctx, binDir)
})

// binDir is where they are built.
var binDir string

func TestMain(m *testing.M) {
	dir, err := testkit.TempDir()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binDir = dir
	if err := testkit.AtOnce(3); err != nil { // tests here mostly wait
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if shared != nil {
		code = max(code, closeShared())
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func programs(t *testing.T) testkit.Programs {
	t.Helper()
	p, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var errNoServers = errors.New("no test servers (TASKWEIR_TEST_MYSQL is not set): make test starts them")

// needServers skips, or fails with CI=true, where separate servers cannot be started.
func needServers(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: -short")
	}
	if os.Getenv("TASKWEIR_TEST_MYSQL") == "" {
		testkit.Need(t, errNoServers)
	}
	for _, m := range testkit.MissingServers(t.Context()) {
		testkit.Need(t, m.Err)
	}
}

// TestOnOneCluster runs, one after another, what disturbs a cluster of two schedulers and two workers, and then what does not, at once;
// all of it beside the tests that have processes of their own.
func TestOnOneCluster(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"ServersComeAndGoUnderLoad", serversComeAndGoUnderLoad},
		{"GoodJobTaskOfAKilledWorker", goodJobTaskOfAKilledWorker},
		{"KilledWorkersTasksRunElsewhere", killedWorkersTasksRunElsewhere},
		{"DrainHandsTasksOver", drainHandsTasksOver},
		{"RollingRestartUnderLoad", rollingRestartUnderLoad},
		{"BrokenConnectionIsANewEpoch", brokenConnectionIsANewEpoch},
	} {
		t.Run(one.name, one.run)
	}
	cluster(t) // everything lives
	for name, shop := range map[string]func(t *testing.T){"GoodJobShop": goodJobShopOnACluster, "SerendipityShop": serendipityShopOnACluster} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shop(t)
		})
	}
}

// shared is the cluster of TestOnOneCluster.
var shared *testkit.Cluster

const drainTime = 3 * time.Second

func cluster(t *testing.T) *testkit.Cluster {
	t.Helper()
	needServers(t)
	if shared != nil {
		revive(t)
		return shared
	}
	c, err := testkit.StartCluster(t.Context(), testkit.ClusterOptions{Programs: programs(t), Schedulers: 2, Workers: 2,
		Env: []string{"TASKWEIR_WORKER_SHELL=true", "TASKWEIR_SURFACES=goodjob,serendipity", "TASKWEIR_DRAIN_TIME=" + drainTime.String()}})
	if err != nil {
		t.Fatal(err)
	}
	shared = c
	return c
}

// revive starts what an earlier test left dead.
func revive(t *testing.T) {
	t.Helper()
	servers := []*testkit.Process{shared.MariaDB.Process, shared.Redis.Process, shared.Lookupd.Process, shared.NSQD[0].Process}
	for _, p := range append(servers, shared.Processes()...) {
		if !p.Running() {
			if err := p.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func closeShared() int {
	if err := shared.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// logsOnFailure prints the ends of the processes' logs when a test failed.
func logsOnFailure(t *testing.T, processes ...*testkit.Process) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			for _, p := range processes {
				t.Logf("--- log of %s\n%s", p.Name(), p.Tail(6<<10))
			}
		}
	})
}
