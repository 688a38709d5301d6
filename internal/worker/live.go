package worker

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// liveQueue gathers changes of the live view; a flusher of its own sends them in batches. What cannot be sent is
// forgotten: every beat sends the whole view again.
type liveQueue struct {
	mu   sync.Mutex
	in   map[int64]task.LiveEntry
	out  map[int64]bool
	wake chan struct{}

	news   atomic.Bool // something was reported since reports were last gathered
	saidNs int64       // when that was; the flusher's own
}

// reportEvery is how often reports are shown.
const reportEvery = 300 * time.Millisecond

func (q *liveQueue) init() {
	q.in, q.out, q.wake = map[int64]task.LiveEntry{}, map[int64]bool{}, make(chan struct{}, 1)
}

// enter shows a task. It never blocks and may be called under Engine.mu.
func (q *liveQueue) enter(en task.LiveEntry) {
	q.mu.Lock()
	q.in[en.TaskID] = en
	delete(q.out, en.TaskID)
	q.mu.Unlock()
	q.ring()
}

// leave takes a task off.
func (q *liveQueue) leave(id int64) {
	q.mu.Lock()
	delete(q.in, id)
	q.out[id] = true
	q.mu.Unlock()
	q.ring()
}

func (q *liveQueue) ring() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// reported says that an attempt which is shown, or will be, has reported. It costs next to nothing while the last time it was said
// is not over. A nil queue takes it, and does nothing.
func (q *liveQueue) reported() {
	if q != nil && !q.news.Load() {
		q.news.Store(true)
		q.ring()
	}
}

// take gives the changes since the last take.
func (q *liveQueue) take() (in []task.LiveEntry, out []int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, en := range q.in {
		in = append(in, en)
	}
	for id := range q.out {
		out = append(out, id)
	}
	clear(q.in)
	clear(q.out)
	return in, out
}

// showing sends the changes, with a short pause after each batch: nobody reads faster.
func (e *Engine) showing() {
	later := time.NewTimer(time.Hour)
	defer later.Stop()
	for {
		select {
		case <-e.live.wake:
		case <-later.C:
		case <-e.ctx.Done():
			return
		}
		reports, next := e.unsaid()
		in, out := e.live.take() // after the reports: of whom of them left meanwhile, it tells
		e.display(in, out, reports)
		if !e.sleep(20*time.Millisecond, nil) {
			return
		}
		later.Reset(next)
	}
}

// display sends changes to the live view.
func (e *Engine) display(in []task.LiveEntry, out []int64, reports []task.LiveReport) {
	ctx, cancel := context.WithTimeout(e.ctx, 2*time.Second)
	defer cancel()
	id := e.workerID()
	if len(out) > 0 {
		e.unreached(e.o.Live.Leave(ctx, id, out))
		slices.Sort(out)
		reports = slices.DeleteFunc(reports, func(r task.LiveReport) bool {
			_, left := slices.BinarySearch(out, r.TaskID)
			return left
		})
	}
	if len(in) > 0 {
		e.unreached(e.o.Live.Enter(ctx, id, in))
	}
	if len(reports) > 0 {
		e.unreached(e.o.Live.Report(ctx, id, reports))
	}
}

// unsaid gives what shown attempts reported and is not shown yet, and when to ask again. Attempts that are not shown yet are
// asked for when they are.
func (e *Engine) unsaid() (out []task.LiveReport, again time.Duration) {
	const idle = time.Hour
	if !e.live.news.Load() {
		return nil, idle
	}
	now := e.mono.ns()
	if since := time.Duration(now - e.live.saidNs); e.live.saidNs != 0 && since < reportEvery {
		return nil, reportEvery - since
	}
	e.live.news.Store(false) // before the look: what comes during it is news again
	e.live.saidNs = now
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.slots {
		if r == nil || !r.shown {
			continue
		}
		if p := r.progress.Load(); p != nil && p.count != r.said {
			r.said = p.count
			out = append(out, task.LiveReport{TaskID: r.end.TaskID, Epoch: r.end.Epoch, Vars: p.vars})
		}
	}
	return out, idle
}

// unreached notes that the live view could not be written; the next beat repairs it.
func (e *Engine) unreached(err error) {
	if err != nil && e.ctx.Err() == nil {
		e.log.Debug("live view not reached", "err", err)
	}
}

// refreshLive sends the whole live view again: Redis may have been lost since the last beat.
func (e *Engine) refreshLive() {
	if e.o.Live == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.slots {
		if r != nil && r.shown {
			e.live.enter(r.live())
		}
	}
}

// listening hears signals for the worker id of the moment; a new id needs a new subscription.
func (e *Engine) listening() {
	for e.ctx.Err() == nil {
		e.mu.Lock()
		id := e.id
		e.mu.Unlock()
		if id == 0 {
			if !e.sleep(100*time.Millisecond, nil) {
				return
			}
			continue
		}
		ctx, cancel := context.WithCancel(e.ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			e.o.Live.Listen(ctx, id, e.signal)
		}()
		e.whileID(id, done)
		cancel()
		<-done
	}
}

// whileID waits until the worker has another id, the subscription ended, or the engine did.
func (e *Engine) whileID(id int64, done <-chan struct{}) {
	for e.sleep(time.Second, done) {
		e.mu.Lock()
		same := e.id == id
		e.mu.Unlock()
		if !same {
			return
		}
	}
}

// signal acts on a hint at once. The beat would find the same in the database.
func (e *Engine) signal(s task.Signal) {
	switch s.Kind {
	case "cancel":
		e.cancelTask(s.TaskID, s.Epoch)
	case "drain":
		e.log.Info("drain asked for")
		e.Drain()
	case "abandon":
		e.abandonTask(s.TaskID, s.Epoch)
	case "look":
		e.lookAsked(s, e.looks)
	case "peek":
		e.lookAsked(s, e.peeks)
	}
}

// earlyFor is how long a cancel waits for its task: longer than a claim takes.
const earlyFor = 3 * time.Second

// cancelTask cancels the context of a task that runs here in that epoch. A signal without epoch is checked against the
// database first. One that comes before its task (the claim is under way) waits for it.
func (e *Engine) cancelTask(id int64, epoch int32) {
	r := e.find(id, epoch)
	if r == nil {
		e.mu.Lock()
		if len(e.early) < 1024 && len(e.calls.open) > 0 {
			e.early[id] = early{epoch, e.mono.ns()}
		}
		e.mu.Unlock()
		return
	}
	if epoch == 0 {
		e.bg.Go(func() { e.verify([]*run{r}) })
		return
	}
	e.stopRun(r, ErrCancelled)
}

// cancelEarly cancels what was asked for while its claim was under way. Engine.mu is held.
func (e *Engine) cancelEarly(runs []run) {
	now := e.mono.ns()
	for i := range runs {
		r := &runs[i]
		if c, ok := e.early[r.end.TaskID]; ok && (c.epoch == 0 || c.epoch == r.end.Epoch) {
			delete(e.early, r.end.TaskID)
			r.cause, r.causeNs = ErrCancelled, now
			r.stop(ErrCancelled)
		}
	}
	for id, c := range e.early {
		if now-c.atNs > int64(earlyFor) {
			delete(e.early, id)
		}
	}
}

// abandonTask forgets a zombie that was closed by hand: the database has its end already.
func (e *Engine) abandonTask(id int64, epoch int32) {
	r := e.find(id, epoch)
	if r == nil {
		return
	}
	e.mu.Lock()
	if r.zombie && !r.closed {
		r.closed = true
		e.drop(r)
	}
	e.mu.Unlock()
	e.fin.ring()
}

// find gives the run of a task, in that epoch unless it is 0.
func (e *Engine) find(id int64, epoch int32) *run {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.slots {
		if r != nil && r.end.TaskID == id && (epoch == 0 || epoch == r.end.Epoch) && !r.closed {
			return r
		}
	}
	return nil
}
