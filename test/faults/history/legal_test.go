package history

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// zero is the database's clock at the beginning of a made-up run.
const zero = 1_700_000_000_000

// world makes up histories in which nothing is wrong: a run of tasks of every kind, with faults, as the three witnesses would have
// told it. It counts for itself what the counters must show.
type world struct {
	r       *rand.Rand
	h       *History
	stats   map[string]*Counters
	serial  int
	id      int64 // tasks
	attempt int64
	calls   int64
	free    time.Duration // from when on the limited queue has room
	keyFree time.Duration // from when on the unique key is free
}

const ms = time.Millisecond

// legal makes up a history, with more of it if wished.
func legal(seed uint64, more ...func(w *world)) *History {
	w := &world{r: rand.New(rand.NewPCG(seed, 7)), h: &History{Fenced: true, Limited: 2, Beat: 500 * ms}, stats: map[string]*Counters{}, id: 100, attempt: 1000}
	for i := range 4 {
		w.h.Processes = append(w.h.Processes, Process{Name: fmt.Sprintf("worker%d", i+1), Role: "worker", PID: 500 + i})
		w.h.End.Workers = append(w.h.End.Workers, Worker{ID: int64(i + 1), PID: 500 + i})
	}
	// Worker 4 is stopped from 20 s to 30 s, worker 3 is killed at 40 s; the APIs are cut off from 60 s to 61 s.
	w.h.Faults = []Fault{
		{N: 1, Kind: "SIGSTOP worker", Targets: []string{"worker4"}, Injected: 20 * time.Second, Ended: 30 * time.Second, Workers: []string{"worker4"}, Late: true, Recovered: time.Second},
		{N: 2, Kind: "SIGKILL worker", Targets: []string{"worker3"}, Injected: 40 * time.Second, Ended: 41 * time.Second, Workers: []string{"worker3"}, Recovered: 2 * time.Second},
		{N: 3, Kind: "cut api", Targets: []string{"api1", "api2"}, Injected: 60 * time.Second, Ended: 61 * time.Second, Parts: []string{PartAPI}},
	}
	for at := time.Duration(0); at < 200*time.Second; at += 250 * ms {
		w.h.Clock.Database = append(w.h.Clock.Database, Sample{At: at, Trip: 300 * time.Microsecond, DB: db(at)})
		w.h.Clock.Sink = append(w.h.Clock.Sink, Lag{At: at, Lag: 400 * time.Microsecond})
	}
	scenarios := []func(at time.Duration){w.plainly, w.failing, w.exhausted, w.denied, w.timingOut, w.cancelledWaiting, w.cancelledRunning, w.reopened,
		w.takenOver, w.expired, w.keyed, w.unknown, w.limited, w.replayed, w.delayed}
	for _, one := range scenarios {
		w.at(one)
		w.at(one)
	}
	for range 20 {
		w.at(scenarios[w.r.IntN(len(scenarios))])
	}
	w.stoppedWorker()
	w.killedWorker()
	w.cutAPI()
	w.schedule()
	for _, m := range more {
		m(w)
	}
	w.h.End.Now = db(190 * time.Second)
	w.h.End.Limits = []Limit{{Key: "q:limited", Queue: "limited", Max: 1}, {Key: "k:shared", LimitKey: "shared", Max: 1}}
	for _, s := range w.stats {
		w.h.End.Stats = append(w.h.End.Stats, *s)
	}
	return w.h
}

// db is the database's clock at a time of the run.
func db(at time.Duration) int64 { return zero + int64(at/ms) }

// at lets something happen at a random time without faults.
func (w *world) at(one func(at time.Duration)) { one(70*time.Second + w.some(60*time.Second)) }

func (w *world) some(most time.Duration) time.Duration {
	return time.Duration(w.r.Int64N(int64(most/ms))) * ms
}

func (w *world) count(queue string) *Counters {
	if w.stats[queue] == nil {
		w.stats[queue] = &Counters{Queue: queue}
	}
	return w.stats[queue]
}

// made is a task under way.
type made struct {
	w    *world
	want Want
	row  Row
	op   int // index of the submit
}

// submit makes a task whose submit was answered.
func (w *world) submit(at time.Duration, want Want) *made {
	w.serial++
	w.id++
	want.Tag = fmt.Sprintf("%d.0", w.serial)
	if want.Queue == "" {
		want.Queue = fmt.Sprintf("plain%d", w.r.IntN(2))
	}
	want.Kind, want.Priority = "http", "normal"
	m := &made{w: w, want: want, op: len(w.h.Ops), row: Row{ID: w.id, Tag: want.Tag, Kind: "http", Queue: want.Queue, Priority: "normal", State: "waiting",
		Created: db(at + ms), Due: db(at+ms) + want.DelayMs, RetryMax: want.RetryMax}}
	if want.Unique != nil {
		m.row.UniqueKey, m.row.UniqueScope, m.row.UniqueWindow = want.Unique.Key, want.Unique.Scope, want.Unique.WindowMs
	}
	w.h.Ops = append(w.h.Ops, Op{N: w.serial, Kind: OpSubmit, Key: "key" + want.Tag, Tries: 1, Sent: at, LastSent: at, Answered: at + 3*ms, Status: 201,
		Wants: []Want{want}, Items: []Item{{Task: w.id, State: "queued"}}})
	w.count(want.Queue).Submitted++
	return m
}

// claim begins an epoch.
func (m *made) claim(at time.Duration, worker int64) {
	m.w.attempt++
	m.row.Epoch++
	m.row.State, m.row.Started, m.row.Worker, m.row.Attempt = "running", db(at), worker, m.w.attempt
}

// call lets the running attempt call the sink.
func (m *made) call(began, ended time.Duration, status int) *Effect {
	return m.callOf(m.row.Epoch, m.row.Attempt, began, ended, status)
}

func (m *made) callOf(epoch int, attempt int64, began, ended time.Duration, status int) *Effect {
	m.w.calls++
	m.w.h.Effects = append(m.w.h.Effects, Effect{Task: m.row.ID, Epoch: epoch, Attempt: attempt, Call: m.w.calls, Kind: "http", Tag: m.row.Tag, Queue: m.row.Queue,
		Began: began, Ended: ended, Status: status})
	return &m.w.h.Effects[len(m.w.h.Effects)-1]
}

// end ends the running attempt.
func (m *made) end(at time.Duration, outcome string, status int) {
	m.w.h.End.Attempts = append(m.w.h.End.Attempts, Attempt{Task: m.row.ID, Epoch: m.row.Epoch, ID: m.row.Attempt, Worker: m.row.Worker, Started: m.row.Started,
		Finished: db(at), Outcome: outcome, HTTPStatus: status})
	switch c := m.w.count(m.row.Queue); outcome {
	case "failed", "timed_out":
		m.row.Failures++
		if outcome == "timed_out" {
			c.TimedOut++
		}
	case "lost":
		m.row.Losses++
		c.Lost++
	}
	m.row.State = "waiting"
}

// retried counts that a failed attempt is to be repeated.
func (m *made) retried() { m.w.count(m.row.Queue).Retried++ }

// become brings the task into a final state.
func (m *made) become(at time.Duration, state, reason string) {
	m.row.State, m.row.Reason, m.row.Finished = state, reason, db(at)
	c := m.w.count(m.row.Queue)
	switch state {
	case "succeeded":
		c.Succeeded++
	case "failed":
		c.Failed++
	case "cancelled":
		c.Cancelled++
	}
	if m.want.Completion {
		m.tell(at, state)
	}
}

// tell makes the delivery of a final state, and lets it arrive.
func (m *made) tell(at time.Duration, state string) {
	w := m.w
	w.id++
	w.attempt++
	w.calls++
	w.h.End.Tasks = append(w.h.End.Tasks, Row{ID: w.id, Kind: completionKind, Queue: "system", State: "succeeded", Epoch: 1, Created: db(at), Due: db(at), Started: db(at + ms),
		Finished: db(at + 4*ms), Worker: 1, Attempt: w.attempt, RetryMax: 20, Tells: m.row.ID, TellsState: state})
	w.h.Effects = append(w.h.Effects, Effect{Task: w.id, Epoch: 1, Attempt: w.attempt, Call: w.calls, Kind: completionKind, Began: at + 2*ms, Ended: at + 3*ms, Status: 204})
	w.h.End.Told = append(w.h.End.Told, Told{Task: m.row.ID, State: state, By: w.id, At: at + 2*ms})
	c := w.count("system")
	c.Submitted++
	c.Succeeded++
}

// succeed lets the running attempt succeed.
func (m *made) succeed(at time.Duration) {
	m.call(at, at+5*ms, 200)
	m.row.HasResult, m.row.ResultEpoch, m.row.ResultCall = true, m.row.Epoch, m.w.calls
	if m.row.Epoch > 1 {
		m.end(at+6*ms, "succeeded", 200)
	}
	m.become(at+6*ms, "succeeded", "")
}

// put writes the row down.
func (m *made) put() { m.w.h.End.Tasks = append(m.w.h.End.Tasks, m.row) }

// op writes down a call about the task.
func (m *made) did(kind OpKind, sent time.Duration, status int, items ...Item) *Op {
	m.w.serial++
	m.w.h.Ops = append(m.w.h.Ops, Op{N: m.w.serial, Kind: kind, Tries: 1, Sent: sent, LastSent: sent, Answered: sent + 3*ms, Status: status, Task: m.row.ID, Items: items})
	return &m.w.h.Ops[len(m.w.h.Ops)-1]
}

// saw writes down that a client saw the task as it is.
func (m *made) saw(at time.Duration) {
	m.did(OpRead, at, 200, Item{Task: m.row.ID, State: m.row.State, Reason: m.row.Reason, Epoch: m.row.Epoch}).Task = 0
}

func (w *world) worker() int64 { return 1 + w.r.Int64N(2) }
