package bench

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/worker"
	_ "modernc.org/sqlite"
)

// fake is a scheduler without any of the guarantees: it keeps tasks in memory, runs them in goroutines, writes their ends
// into SQLite, and loses or doubles some when it is told to. The bench must notice.
type fake struct {
	db, yard           *sql.DB
	runner             worker.Runner
	server             *httptest.Server
	loseOne, doubleOne bool

	mu      sync.Mutex
	next    int64
	paused  map[string][]func()
	cancels map[int64]context.CancelCauseFunc
	running sync.WaitGroup
}

func openFake(t *testing.T, change func(*fake)) Opener {
	t.Helper()
	dir := t.TempDir()
	next := int64(1000)
	return func(_ context.Context, s Settings) (System, error) {
		f := &fake{runner: s.Runner, next: next, paused: map[string][]func(){}, cancels: map[int64]context.CancelCauseFunc{}}
		for _, d := range []struct {
			db   **sql.DB
			name string
		}{{&f.db, "tasks.db"}, {&f.yard, "yard.db"}} {
			db, err := sql.Open("sqlite", filepath.Join(dir, d.name)+"?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=busy_timeout(5000)")
			if err != nil {
				return nil, err
			}
			db.SetMaxOpenConns(1)
			*d.db = db
		}
		if _, err := f.db.Exec("CREATE TABLE IF NOT EXISTS tasks (id INTEGER PRIMARY KEY, state INT, epoch INT, due_at INT, started_at INT, finished_at INT)"); err != nil {
			return nil, err
		}
		if _, err := f.db.Exec("CREATE TABLE IF NOT EXISTS slots (schedule_id INT, slot_at INT, task_id INT, outcome INT)"); err != nil {
			return nil, err
		}
		f.server = httptest.NewServer(http.HandlerFunc(f.serve))
		if change != nil {
			change(f)
		}
		next += 10_000_000
		return f, nil
	}
}

func (f *fake) Name() string                                   { return "a fake" }
func (f *fake) Client(context.Context, string) (Client, error) { return f, nil }
func (f *fake) Key() string                                    { return "key" }
func (f *fake) BaseURL() string                                { return f.server.URL }
func (f *fake) Now() int64                                     { return time.Now().UnixMilli() }
func (f *fake) DB() *sql.DB                                    { return f.db }
func (f *fake) Yard() *sql.DB                                  { return f.yard }
func (f *fake) SQLite() bool                                   { return true }

func (f *fake) Close(context.Context) error {
	f.server.Close()
	f.mu.Lock()
	for _, waiting := range f.paused { // never resumed: the run was broken off
		f.running.Add(-len(waiting))
	}
	f.mu.Unlock()
	f.running.Wait()
	return errors.Join(f.db.Close(), f.yard.Close())
}

func (f *fake) Pause(_ context.Context, queue string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paused[queue] = []func(){}
	return nil
}

func (f *fake) Resume(_ context.Context, queue string) error {
	f.mu.Lock()
	waiting := f.paused[queue]
	delete(f.paused, queue)
	f.mu.Unlock()
	for _, start := range waiting {
		go start()
	}
	return nil
}

func (f *fake) Submit(_ context.Context, tasks ...Task) ([]int64, error) {
	ids := make([]int64, len(tasks))
	insert := "INSERT INTO tasks VALUES "
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, t := range tasks {
		f.next++
		ids[i] = f.next
		due := max(t.DueAt, f.Now())
		insert += fmt.Sprintf("(%d, 2, 0, %d, 0, 0),", f.next, due)
		f.running.Add(1)
		start := func() { f.run(ids[i], due, t) }
		if waiting, ok := f.paused[t.Queue]; ok {
			f.paused[t.Queue] = append(waiting, start)
		} else {
			go start()
		}
	}
	_, err := f.db.Exec(strings.TrimSuffix(insert, ","))
	return ids, err
}

func (f *fake) run(id, due int64, t Task) {
	defer f.running.Done()
	time.Sleep(time.Duration(due-f.Now()) * time.Millisecond)
	f.mu.Lock()
	lose, double := f.loseOne, f.doubleOne
	f.loseOne, f.doubleOne = false, f.doubleOne && lose
	ctx, cancel := context.WithCancelCause(context.Background())
	f.cancels[id] = cancel
	f.mu.Unlock()
	defer cancel(nil)
	if lose {
		return
	}
	started, epoch := f.Now(), 1
	if double {
		epoch = 2
		f.runner.Run(ctx, worker.Job{TaskID: id, Payload: t.Payload})
	}
	if t.Kind == "http" {
		var payload struct{ URL string }
		if json.Unmarshal(t.Payload, &payload) == nil {
			if res, err := http.Post(payload.URL, "application/json", strings.NewReader("{}")); err == nil {
				_ = res.Body.Close()
			}
		}
	} else {
		f.runner.Run(ctx, worker.Job{TaskID: id, Payload: t.Payload})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.db.Exec("UPDATE tasks SET state = 4, epoch = ?, started_at = ?, finished_at = ? WHERE id = ?", epoch, started, f.Now(), id); err != nil {
		panic(err)
	}
}

// Schedule fires each slot a little ahead, as tasks that are due at it.
func (f *fake) Schedule(_ context.Context, list ...Schedule) ([]int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := make([]int64, len(list))
	for i, s := range list {
		f.next++
		ids[i] = f.next
		if s.EveryMs == 0 {
			continue
		}
		f.running.Add(1)
		go func() {
			defer f.running.Done()
			for at := (s.StartAt-s.Anchor+s.EveryMs-1)/s.EveryMs*s.EveryMs + s.Anchor; at < s.EndAt; at += s.EveryMs {
				time.Sleep(time.Duration(at-500-f.Now()) * time.Millisecond)
				s.Task.DueAt = at
				task, err := f.Submit(context.Background(), s.Task)
				if err == nil {
					_, err = f.db.Exec("INSERT INTO slots VALUES (?, ?, ?, 1)", ids[i], at, task[0])
				}
				if err != nil {
					panic(err)
				}
			}
		}()
	}
	return ids, nil
}

func (f *fake) Unschedule(context.Context, ...int64) error { return nil }

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer key" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/v1/tasks/"); ok && strings.HasSuffix(rest, "/cancel") {
		id, _ := strconv.ParseInt(strings.TrimSuffix(rest, "/cancel"), 10, 64)
		f.mu.Lock()
		f.cancels[id](errors.New("cancelled"))
		f.mu.Unlock()
		return
	}
	type submission struct {
		Queue   string
		Payload json.RawMessage
	}
	var many struct{ Tasks []submission }
	var one submission
	var err error
	if r.URL.Path == "/v1/tasks/batch" {
		err = json.NewDecoder(r.Body).Decode(&many)
	} else {
		err = json.NewDecoder(r.Body).Decode(&one)
		many.Tasks = []submission{one}
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	tasks := make([]Task, len(many.Tasks))
	for i, s := range many.Tasks {
		tasks[i] = Task{Kind: Kind, Queue: s.Queue, Payload: s.Payload}
	}
	ids, _ := f.Submit(r.Context(), tasks...)
	if r.URL.Path == "/v1/tasks" {
		fmt.Fprintf(w, `{"app":"default","id":"%d","kind":"bench"}`, ids[0])
		return
	}
	items := make([]string, len(ids))
	for i, id := range ids {
		items[i] = fmt.Sprintf(`{"task":{"id":"%d"}}`, id)
	}
	fmt.Fprintf(w, `{"items":[%s]}`, strings.Join(items, ","))
}

// tiny is a run of about a second.
func tiny() Options {
	o := Quick()
	o.Submit, o.Yard, o.Steady, o.Latency = 20*time.Millisecond, 20*time.Millisecond, 40*time.Millisecond, 200*time.Millisecond
	o.Drain, o.Callbacks, o.Instant, o.InstantAhead, o.Cancels, o.Backlog = 1000, 50, 500, time.Second, 10, 500
	o.Schedules, o.Sleeping, o.Idle = 20, 10, 10*time.Millisecond
	o.Known, o.Learned, o.Patience = time.Millisecond, time.Millisecond, 30*time.Second
	return o
}

func TestRunMeasuresEverything(t *testing.T) {
	rep, err := Run(t.Context(), tiny(), openFake(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	if rep.Lost != 0 || rep.Doubled != 0 || rep.Early != 0 {
		t.Fatalf("lost %d, doubled %d, early %d", rep.Lost, rep.Doubled, rep.Early)
	}
	for _, f := range rep.Figures {
		if len(f.Values) != 1 || math.IsNaN(f.Median) || f.Median < -1 || f.Median == 0 && !strings.Contains(f.Name, "late") && !strings.Contains(f.Name, "CPU") && !strings.Contains(f.Name, "delays") && !strings.Contains(f.Unit, "core") && f.Unit != "MiB" {
			t.Errorf("%s: %v, median %v", f.Name, f.Values, f.Median)
		}
	}
	for _, g := range rep.goals() {
		if f := rep.byName[g.figure]; f == nil || f.Met == nil {
			t.Errorf("the goal for %q was not judged", g.figure)
		}
	}
	var table, object bytes.Buffer
	if err := errors.Join(rep.Markdown(&table), rep.JSON(&object)); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(table.String(), "\n| "); got != len(rep.Figures)+1 {
		t.Errorf("%d rows for %d figures:\n%s", got, len(rep.Figures), table.String())
	}
	var back Report
	if err := json.Unmarshal(object.Bytes(), &back); err != nil || len(back.Figures) != len(rep.Figures) {
		t.Errorf("%d figures of %d in JSON: %v", len(back.Figures), len(rep.Figures), err)
	}
}

func TestLossesAndDoubledRunsAreCounted(t *testing.T) {
	o := tiny()
	o.Backlog, o.Patience = 0, 2*time.Second
	rep, err := Run(t.Context(), o, openFake(t, func(f *fake) { f.loseOne, f.doubleOne = true, true }))
	if err != nil {
		t.Fatal(err)
	}
	if rep.Lost != 1 || rep.Doubled != 1 {
		t.Errorf("lost %d and doubled %d, want 1 and 1", rep.Lost, rep.Doubled)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	time.AfterFunc(300*time.Millisecond, func() { cancel(stop) })
	began := time.Now()
	o := tiny()
	o.Latency = time.Minute
	if _, err := Run(ctx, o, openFake(t, nil)); !errors.Is(err, stop) && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Fatalf("ended after %v", took)
	}
}

func TestGoals(t *testing.T) {
	r := &Report{instant: 10_000, byName: map[string]*Figure{}}
	r.figure(r.insertYard(), "rows/s").add(40_000)
	r.figure(drainFigure, "tasks/s").add(19_000)
	r.figure(instantBatches+": last late", "ms").add(546)
	r.figure(instantSingly+": last late", "ms").add(1100)
	r.figure("cancel, p99", "ms").add(50)
	r.finish()
	for name, want := range map[string]bool{drainFigure: false, instantBatches + ": last late": true, instantSingly + ": last late": false, "cancel, p99": true} {
		if f := r.byName[name]; f.Met == nil || *f.Met != want {
			t.Errorf("%s: met %v, want %v (%s)", name, f.Met, want, f.Goal)
		}
	}
	if got := r.byName[drainFigure].Ratio; got != 0.475 {
		t.Errorf("ratio %v", got)
	}
}

func TestMedian(t *testing.T) {
	r := &Report{byName: map[string]*Figure{}}
	odd, even := r.figure("odd", ""), r.figure("even", "")
	odd.Values, even.Values = []float64{9, 1, 5}, []float64{4, 1, 2, 9}
	r.finish()
	if odd.Median != 5 || odd.Min != 1 || odd.Max != 9 || even.Median != 3 {
		t.Fatalf("%+v %+v", odd, even)
	}
}

func TestQuantile(t *testing.T) {
	values := make([]float64, 100)
	for i := range values {
		values[i] = float64(i + 1)
	}
	for q, want := range map[float64]float64{0.5: 51, 0.99: 100, 0: 1, 1: 100} {
		if got := quantile(values, q); got != want {
			t.Errorf("%v-quantile %v, want %v", q, got, want)
		}
	}
	if quantile(nil, 0.5) != 0 {
		t.Error("quantile of nothing")
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{1234567: "1,234,567", 999.6: "1000", 12.34: "12.3", 0.456: "0.46", -1234: "-1,234", 100: "100"} {
		if got := Number(v); got != want {
			t.Errorf("%v is shown as %s, want %s", v, got, want)
		}
	}
}

func TestPayloadsHaveTheYardsticksSize(t *testing.T) {
	for _, p := range [][]byte{noop, pad(`{"ms":10,"pad":"`)} {
		if len(p) != payloadSize || !json.Valid(p) {
			t.Errorf("%d bytes: %s", len(p), p)
		}
	}
}

func FuzzSingleID(f *testing.F) {
	f.Add([]byte(`{"id":"17","app":"x"}`))
	f.Add([]byte(`{"id":"`))
	f.Add([]byte(`{"id":"9999999999999999999"}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		id, err := singleID(answer)
		if err == nil && !bytes.Contains(answer, []byte(`"id":"`)) {
			t.Fatalf("id %d from %q", id, answer)
		}
	})
}

func TestWhatCannotBeMeasuredIsRefused(t *testing.T) {
	for want, change := range map[string]func(*Options){
		`only: "drains" is no step: use yardsticks, submit`: func(o *Options) { o.Only = []string{StepDrain, "drains"} },
		"rounds: must be 1 to 25, is 26":                    func(o *Options) { o.Rounds = 26 },
		"rounds: must be 1 to 25, is -1":                    func(o *Options) { o.Rounds = -1 },
	} {
		o := Quick()
		change(&o)
		_, err := Run(t.Context(), o, func(context.Context, Settings) (System, error) {
			t.Error("a system was opened")
			return nil, errors.New("opened")
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
