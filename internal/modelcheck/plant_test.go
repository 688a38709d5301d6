package modelcheck_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
)

// plant is a fault: a trigger that makes the database forget or do too much, or a guard that is taken out of the way of a call.
type plant struct {
	name       string
	sql        string
	claim      func(w *world, bells []int64)
	finish     func(w *world, batch *task.FinishBatch)
	emptyEarly bool // the worker drops claims that still hold tasks
	noCheck    bool // it never looks for claims that it does not hold
	deaf       bool // no scheduler rings what waits again
	in         scenario
	finds      string // what the checker says
}

var plants = []plant{
	{
		name: "a claim forgets the guard by the bell",
		claim: func(w *world, bells []int64) {
			for _, b := range bells {
				w.sabotage(fmt.Sprintf("UPDATE tasks SET holder=%d WHERE state=2 AND EXISTS (SELECT 1 FROM bells WHERE id=%d AND kind=0 AND instr(','||task_ids||',',','||tasks.id||',')>0)", b, b))
			}
		},
		in:    scenario{tasks: []submission{{retries: 1, retryMs: 10, delayMs: 5}}, epochs: 3, outcomes: []ending{fails}, bounds: budget{runNows: 1}},
		finds: "believes to have won task 1 in epoch 1",
	},
	{
		name:  "a claim does not count",
		sql:   "CREATE TRIGGER planted AFTER UPDATE OF state ON tasks WHEN NEW.state=3 AND OLD.state=2 BEGIN UPDATE tasks SET epoch=OLD.epoch WHERE id=NEW.id; END",
		in:    scenario{tasks: []submission{{}}, epochs: 2, outcomes: []ending{succeeds}},
		finds: "I4",
	},
	{
		name: "a finish forgets the guard by epoch and worker",
		finish: func(w *world, batch *task.FinishBatch) {
			for _, e := range batch.Endings {
				w.see(fmt.Sprintf("SELECT epoch,worker_id,attempt_id FROM tasks WHERE id=%d AND state=3", e.TaskID), &e.Epoch, &e.WorkerID, &e.AttemptID)
				batch.WorkerID = e.WorkerID
			}
		},
		in:    scenario{tasks: []submission{{}}, epochs: 2, outcomes: []ending{succeeds}, bounds: budget{stops: 1}},
		finds: "told to be fenced false",
	},
	{
		name:   "a finish forgets the cancel",
		finish: func(w *world, _ *task.FinishBatch) { w.sabotage("UPDATE tasks SET cancel_at=0 WHERE state=3") },
		in:     scenario{tasks: []submission{{retries: 1}}, epochs: 2, outcomes: []ending{fails}, bounds: budget{cancels: 1}},
		finds:  "was to be cancelled and went to waiting",
	},
	{
		name:  "nothing deletes a claim",
		sql:   "CREATE TRIGGER planted BEFORE DELETE ON claims BEGIN SELECT RAISE(IGNORE); END",
		in:    scenario{tasks: []submission{{}}, epochs: 2, outcomes: []ending{succeeds}, bounds: budget{crashes: 1}},
		finds: "never comes to an end",
	},
	{
		name:       "a worker drops a claim that holds a task",
		emptyEarly: true,
		in:         scenario{tasks: []submission{{}, {}}, together: true, epochs: 1, outcomes: []ending{succeeds}},
		finds:      "I2",
	},
	{
		name:  "a retry has no bell",
		sql:   "CREATE TRIGGER planted BEFORE INSERT ON bells WHEN NEW.epoch>0 BEGIN SELECT RAISE(IGNORE); END",
		in:    scenario{tasks: []submission{{retries: 1}}, epochs: 2, outcomes: []ending{fails}},
		finds: "I1",
	},
	{
		name: "a limit gets a place back twice",
		sql: "CREATE TRIGGER planted AFTER UPDATE OF running ON limits WHEN NEW.running<OLD.running AND NEW.running>0 BEGIN " +
			"UPDATE limits SET running=running-1 WHERE k=NEW.k; END",
		in:    scenario{tasks: []submission{{}, {}}, epochs: 1, outcomes: []ending{succeeds}, limit: 2},
		finds: "limit q:default says that 0 run of 2, 1 tasks hold a place",
	},
	{
		name:  "a limit is not raised",
		sql:   "CREATE TRIGGER planted BEFORE UPDATE OF running ON limits WHEN NEW.running>OLD.running BEGIN SELECT RAISE(IGNORE); END",
		in:    scenario{tasks: []submission{{}}, epochs: 1, outcomes: []ending{succeeds}, limit: 1},
		finds: "limit q:default",
	},
	{
		name:  "nothing releases a unique key",
		sql:   "CREATE TRIGGER planted BEFORE DELETE ON unique_keys BEGIN SELECT RAISE(IGNORE); END",
		in:    scenario{tasks: []submission{{key: "k", scope: task.ScopeUntilFinished}}, epochs: 1, outcomes: []ending{succeeds}},
		finds: "that it holds its unique key is true",
	},
	{
		name:  "a unique key is not taken",
		sql:   "CREATE TRIGGER planted BEFORE UPDATE ON unique_keys BEGIN SELECT RAISE(IGNORE); END; CREATE TRIGGER planted2 AFTER UPDATE OF state ON tasks WHEN NEW.state=3 BEGIN DELETE FROM unique_keys; END",
		in:    scenario{tasks: []submission{{key: "k", scope: task.ScopeUntilFinished}}, epochs: 1, outcomes: []ending{succeeds}},
		finds: "that it holds its unique key is false",
	},
	{
		name: "an expiry ends what runs",
		sql: "CREATE TRIGGER planted AFTER DELETE ON bells WHEN OLD.kind=1 BEGIN " +
			"UPDATE tasks SET state=5,holder=0,finished_at=1,reason=3 WHERE state=3; INSERT INTO ends SELECT 1,5,id,1,x'0000000000000000' FROM tasks WHERE state=5; " +
			"INSERT INTO attempts SELECT id,epoch,attempt_id,1,1,1,3,0,NULL FROM tasks WHERE state=5; END",
		in:    scenario{tasks: []submission{{expiresMs: 10}}, epochs: 1, outcomes: []ending{succeeds}},
		finds: "went from running to failed, which this call may not do",
	},
	{
		name:  "a rescue touches what has ended",
		sql:   "CREATE TRIGGER planted AFTER DELETE ON claims BEGIN UPDATE tasks SET failures=failures+1 WHERE state=6; END",
		in:    scenario{tasks: []submission{{}, {}}, epochs: 1, outcomes: []ending{succeeds}, bounds: budget{cancels: 1, crashes: 1}},
		finds: "I5",
	},
	{
		name:  "a success is not counted",
		sql:   "CREATE TRIGGER planted BEFORE INSERT ON stats WHEN NEW.succeeded>0 BEGIN SELECT RAISE(IGNORE); END",
		in:    scenario{tasks: []submission{{}}, epochs: 1, outcomes: []ending{succeeds}},
		finds: "counters",
	},
	{
		name:  "an attempt is not written",
		sql:   "CREATE TRIGGER planted BEFORE INSERT ON attempts BEGIN SELECT RAISE(IGNORE); END",
		in:    scenario{tasks: []submission{{retries: 1}}, epochs: 1, outcomes: []ending{fails}},
		finds: "has a row in attempts is false",
	},
	{
		name:  "an idempotency key is forgotten",
		sql:   "CREATE TRIGGER planted AFTER INSERT ON idempotency BEGIN DELETE FROM idempotency; END",
		in:    scenario{tasks: []submission{{}}, epochs: 1, outcomes: []ending{succeeds}, bounds: budget{resubmits: 1}},
		finds: "a repeated submit made task 11",
	},
	{
		name:    "a worker that was not told of its claim never looks",
		noCheck: true,
		in:      scenario{tasks: []submission{{}}, epochs: 1, outcomes: []ending{succeeds}, bounds: budget{unknowns: 1}},
		finds:   "task 1 is lost: a fair continuation leaves it running",
	},
	{
		name:  "no scheduler rings a retry",
		deaf:  true,
		in:    scenario{tasks: []submission{{retries: 1}}, epochs: 1, outcomes: []ending{fails}},
		finds: "task 1 is lost: a fair continuation leaves it waiting",
	},
}

// TestFindsPlantedFaults is the test of the checker: each guard that is taken away must be missed, and named by its rule.
func TestFindsPlantedFaults(t *testing.T) {
	for i := range plants {
		p := &plants[i]
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			dir := memoryFolder(t)
			testkit.Bubble(t, func(t *testing.T) {
				x, v := explore(t, dir, &p.in, p, 20_000)
				switch {
				case v == nil:
					t.Fatalf("nothing was found in %d states", len(x.seen))
				case !strings.Contains(v.rule.Error(), p.finds):
					t.Fatalf("found something else than %q: %v", p.finds, v)
				case !strings.Contains(v.trace, "submit"):
					t.Errorf("the way to it is not told: %v", v)
				}
				t.Logf("found in %d states: %v", len(x.seen), v.rule)
			})
		})
	}
}

// sabotage changes rows under a call.
func (w *world) sabotage(query string) {
	_, err := w.raw.ExecContext(w.ctx, query)
	w.must(err)
}

// see reads one row, if it is there.
func (w *world) see(query string, into ...any) {
	rows, err := w.raw.QueryContext(w.ctx, query)
	w.must(err)
	defer rows.Close()
	if rows.Next() {
		w.must(rows.Scan(into...))
	}
}
