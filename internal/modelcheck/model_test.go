package modelcheck_test

import (
	"os"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
)

var (
	once   = submission{}
	twice  = submission{retries: 1, retryMs: 10}
	either = []ending{succeeds, fails}
)

// scenarios are small on purpose: what goes wrong between processes goes wrong with one or two tasks. Together they take every
// arrow, with workers killed and stopped, and answers lost, at every step.
var scenarios = []scenario{
	{
		name: "a task that is retried", tasks: []submission{twice}, epochs: 2, outcomes: either, pairs: true,
		bounds: budget{stops: 1, cancels: 1},
		deeper: budget{crashes: 1, stops: 1, losts: 1},
	},
	{
		name: "answers that are lost", tasks: []submission{once}, epochs: 2, outcomes: either, lostWith: true,
		bounds: budget{stops: 1, losts: 1, reopens: 1, resubmits: 1},
		deeper: budget{losts: 1, cancels: 1, unknowns: 1},
	},
	{
		name: "answers that stay unknown", tasks: []submission{twice}, epochs: 2, outcomes: either,
		bounds: budget{stops: 1, unknowns: 2, crashes: 1},
		deeper: budget{losts: 1, cancels: 1},
	},
	{
		name: "workers that are killed again and again", tasks: []submission{once}, epochs: 5, outcomes: either,
		bounds: budget{crashes: 5},
		deeper: budget{stops: 2},
	},
	{
		name: "people who change their mind", tasks: []submission{{delayMs: 50}}, epochs: 2,
		outcomes: []ending{succeeds, failsForGood, snoozes},
		bounds:   budget{cancels: 1, reopens: 1, runNows: 1, releases: 1},
		deeper:   budget{stops: 1, cancels: 1, reopens: 1},
	},
	{
		name: "a task that expires", tasks: []submission{{retries: 1, retryMs: 10, expiresMs: 30}}, epochs: 2, outcomes: either, pairs: true,
		bounds: budget{stops: 1, releases: 1},
		deeper: budget{cancels: 1, reopens: 1, losts: 1},
	},
	{
		name: "two tasks in one bell", tasks: []submission{twice, once}, together: true, epochs: 2, outcomes: either, maxes: []int{1, maxTasks},
		bounds: budget{cancels: 1},
		deeper: budget{stops: 1},
	},
	{
		name: "a claim in parts, its answer lost", tasks: []submission{once, once}, together: true, epochs: 1, outcomes: []ending{succeeds}, maxes: []int{1},
		lostWith: true, bounds: budget{losts: 1, stops: 1},
		deeper: budget{crashes: 1},
	},
	{
		name: "a key that is held until the end", epochs: 1, outcomes: either,
		tasks:  []submission{{key: "k", scope: task.ScopeUntilFinished}, {key: "k", scope: task.ScopeUntilFinished, onConflict: task.OnConflictReplace}},
		bounds: budget{cancels: 1, reopens: 1},
		deeper: budget{crashes: 1, losts: 1},
	},
	{
		name: "a key that is held until the start", epochs: 2, outcomes: either,
		tasks: []submission{{key: "k", scope: task.ScopeUntilStarted, retries: 1, retryMs: 10},
			{key: "k", scope: task.ScopeUntilStarted, onConflict: task.OnConflictReplace}},
		bounds: budget{reopens: 1},
		deeper: budget{crashes: 1, cancels: 1, losts: 1},
	},
	{
		name: "a limit of one", tasks: []submission{once, once}, epochs: 1, outcomes: either, limit: 1,
		bounds: budget{stops: 1, cancels: 1, crashes: 1},
		deeper: budget{losts: 1, reopens: 1},
	},
	{
		name: "completion by the receiver", tasks: []submission{twice}, epochs: 2, outcomes: []ending{succeeds, awaits},
		bounds: budget{stops: 1, cancels: 1},
		deeper: budget{losts: 1, reopens: 1},
	},
}

// memoryFolder is a folder in memory where there is one: what is written there is synced for nothing.
func memoryFolder(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "taskweir-model-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestModel visits every state of every scenario. TASKWEIR_TEST_MODEL=deep (make model) goes deeper, for as long as it takes.
func TestModel(t *testing.T) {
	for i := range scenarios {
		sc := &scenarios[i]
		if os.Getenv("TASKWEIR_TEST_MODEL") == "deep" {
			sc = sc.deep()
		}
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			dir, began := memoryFolder(t), time.Now()
			var x *search
			testkit.Bubble(t, func(t *testing.T) {
				var v *violation
				if x, v = explore(t, dir, sc, nil, 0); v != nil {
					t.Fatal(v)
				}
			})
			t.Logf("%d states, %d transitions; %d contents of the database, %d steps taken in it; %v", len(x.seen), x.steps, len(x.w.states), x.w.taken,
				time.Since(began).Round(10*time.Millisecond))
		})
	}
}
