package worker

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/internal/failpoint"
	"github.com/taskweir/taskweir/internal/task"
)

// results are the ends that wait for the flusher.
type results struct {
	mu     sync.Mutex
	list   []*run
	urgent int          // of the list, ends that others may wait for
	rests  bool         // the flusher waits for more of them
	most   int          // ends of one commit
	n      atomic.Int64 // waiting and in the flusher's hands
	bytes  atomic.Int64 // of those, what handlers returned
	wake   chan struct{}
	closed chan struct{} // nothing more is added: flush what is there and end
}

func (f *results) init(most int) {
	f.most, f.wake, f.closed = most, make(chan struct{}, 1), make(chan struct{})
}

// size is how many results are not committed.
func (f *results) size() int { return int(f.n.Load()) }

// maxFlushBytes bounds what one transaction carries, well below what databases take in one packet.
const maxFlushBytes = 4 << 20

// full reports whether so much waits for the database that nothing more should be claimed.
func (e *Engine) full() bool {
	return e.fin.size() >= e.o.MaxResults || e.fin.bytes.Load() >= int64(e.o.MaxResultBytes)
}

// add hands over one end.
func (f *results) add(r *run) {
	r.bytes = len(r.end.Result) + len(r.end.Log) + len(r.end.Delivery)
	f.bytes.Add(int64(r.bytes))
	f.n.Add(1)
	f.mu.Lock()
	f.list = append(f.list, r)
	if r.urgent() {
		f.urgent++
	}
	wake := len(f.list) == 1 || f.rests && f.due()
	f.mu.Unlock()
	if wake {
		f.ring()
	}
}

// urgent reports whether the end of a run makes room in a limit, which comes free with its commit.
func (r *run) urgent() bool { return r.end.Places != 0 || r.end.Flow != 0 }

// due reports whether ends are to be committed although more will come: some are urgent, or they fill a transaction. Only while the
// flusher has none in its hands are bytes those of the list. mu is held.
func (f *results) due() bool {
	return f.urgent > 0 || len(f.list) >= f.most || f.bytes.Load() >= maxFlushBytes
}

func (f *results) ring() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// take gives the ends of one commit: of one worker id, oldest first, and no more bytes than a transaction carries.
func (f *results) take() []*run {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, bytes := 0, 0
	for n < len(f.list) && n < f.most && f.list[n].end.WorkerID == f.list[0].end.WorkerID {
		if bytes += f.list[n].bytes; bytes > maxFlushBytes && n > 0 {
			break
		}
		n++
	}
	out := f.list[:n:n]
	for _, r := range out {
		if r.urgent() {
			f.urgent--
		}
	}
	if f.list = f.list[n:]; len(f.list) == 0 {
		f.list = nil
	}
	return out
}

// The flusher rests between commits that are large: what it waits for then makes the next one larger, and an end costs the database the
// less the more of them are committed at once.
const (
	restFrom = 32                   // ends of a commit from which on it rests
	restFor  = 8 * time.Millisecond // longest rest
)

// rest waits for more ends to commit.
func (e *Engine) rest() {
	f := &e.fin
	t := time.NewTimer(restFor)
	defer t.Stop()
	for f.resting() {
		select {
		case <-f.wake: // perhaps of an end that was committed long ago
			continue
		case <-t.C:
		case <-f.closed:
		case <-e.ctx.Done():
		}
		break
	}
	f.mu.Lock()
	f.rests = false
	f.mu.Unlock()
}

// resting reports whether there is something to wait for, and asks to be woken when there no longer is.
func (f *results) resting() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rests = !f.due()
	return f.rests
}

// flushing commits what ended: one transaction after the other, each with all that waits.
func (e *Engine) flushing() {
	defer close(e.flushDone)
	for {
		select {
		case <-e.fin.wake:
			runtime.Gosched() // lets siblings of the first end report too
		case <-e.fin.closed:
			e.flushAll()
			return
		case <-e.ctx.Done():
			return
		}
		e.flushAll()
	}
}

// flushAll commits until nothing waits.
func (e *Engine) flushAll() {
	last := 0
	for e.ctx.Err() == nil {
		if last >= restFrom {
			if e.rest(); e.ctx.Err() != nil {
				return
			}
		}
		batch := e.fin.take()
		last = len(batch)
		gone := e.takeEmptied(batch)
		if len(batch) == 0 && len(gone.Emptied) == 0 {
			return
		}
		e.flush(batch, gone)
		was, bytes := e.full(), 0
		for _, r := range batch {
			bytes += r.bytes
		}
		e.fin.bytes.Add(-int64(bytes))
		e.fin.n.Add(-int64(len(batch)))
		if was && !e.full() {
			e.calling.ring()
		}
	}
}

// takeEmptied prepares the transaction of a batch: its endings, and the claims of which nothing is left in memory.
func (e *Engine) takeEmptied(batch []*run) task.FinishBatch {
	fb := task.FinishBatch{Endings: make([]*task.Ending, 0, len(batch))}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range batch {
		fb.Endings = append(fb.Endings, &r.end)
		e.drop(r)
	}
	if len(batch) > 0 {
		fb.WorkerID = batch[0].end.WorkerID
	} else if len(e.emptied) > 0 {
		fb.WorkerID = e.emptied[0].worker
	}
	rest := e.emptied[:0]
	for _, c := range e.emptied {
		if c.refused {
			delete(e.claims, c.id) // the self-check releases what its row holds
		} else if c.worker == fb.WorkerID && len(fb.Emptied) < maxClaim {
			fb.Emptied = append(fb.Emptied, c.id)
		} else {
			rest = append(rest, c)
		}
	}
	e.emptied = rest
	return fb
}

// drop counts a task of a claim as not in memory any more. Engine.mu is held.
func (e *Engine) drop(r *run) {
	if r.claim.left--; r.claim.left == 0 {
		e.emptied = append(e.emptied, r.claim)
	}
}

// flush commits one batch. While the database is gone it tries again until the engine is killed; a batch that the store
// refuses is halved until the guilty end is alone.
func (e *Engine) flush(batch []*run, fb task.FinishBatch) {
	pause := 20 * time.Millisecond
	for {
		bells, err := e.o.Store.Finish(e.ctx, fb)
		if err == nil {
			failpoint.At(failpoint.FinishCommitted)
			e.committed(batch, fb, bells)
			return
		}
		if e.ctx.Err() != nil {
			return
		}
		e.log.Warn("results not committed", "tasks", len(batch), "err", err)
		if !task.Transient(err) {
			e.halve(batch, fb, err)
			return
		}
		if !e.sleep(pause, nil) {
			return
		}
		pause = min(2*pause, time.Second)
	}
}

// halve commits a refused batch in two halves. A single end that is refused goes once more without what its handler
// wrote, then back to the queue of tasks as lost.
func (e *Engine) halve(batch []*run, fb task.FinishBatch, err error) {
	if len(batch) > 1 {
		mid := len(batch) / 2
		e.flush(batch[:mid], task.FinishBatch{WorkerID: fb.WorkerID, Endings: fb.Endings[:mid]})
		e.flush(batch[mid:], task.FinishBatch{WorkerID: fb.WorkerID, Endings: fb.Endings[mid:], Emptied: e.unrefused(fb.Emptied)})
		return
	}
	if len(batch) == 0 {
		e.forgetClaims(fb.Emptied)
		return
	}
	end := &batch[0].end
	if end.Result == nil && end.Log == nil && end.Delivery == nil && end.ErrCode == "result_refused" {
		e.log.Error("end cannot be stored; the task is released as lost", "task", end.TaskID, "err", err)
		e.keepRow(batch[0].claim)
		e.chores.add(chore{r: batch[0], do: releaseLost})
		e.forgetClaims(fb.Emptied)
		return
	}
	end.Result, end.Log, end.Delivery, end.ErrCode, end.ErrMessage = nil, nil, nil, "result_refused", "the store refused what the handler reported"
	e.flush(batch, fb)
}

// keepRow makes sure that the row of a claim is not deleted while it holds a task that this worker could neither end nor
// release: when nothing of the claim is left in memory, the self-check finds the row and releases it whole. A row that is
// deleted too early leaves a task running for ever.
func (e *Engine) keepRow(c *claim) {
	e.mu.Lock()
	c.refused = true
	e.mu.Unlock()
}

// unrefused gives the emptied claims whose rows may be deleted, and forgets the others.
func (e *Engine) unrefused(ids []int64) []int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]int64, 0, len(ids))
	for _, id := range ids {
		if c := e.claims[id]; c != nil && c.refused {
			delete(e.claims, id)
		} else {
			out = append(out, id)
		}
	}
	return out
}

// forgetClaims takes claims out of memory, so that the self-check releases what they still hold.
func (e *Engine) forgetClaims(ids []int64) {
	e.mu.Lock()
	for _, id := range ids {
		delete(e.claims, id)
	}
	e.mu.Unlock()
}

// committed counts a batch, says what was fenced and rings the bells of retries.
func (e *Engine) committed(batch []*run, fb task.FinishBatch, bells []task.Bell) {
	e.forgetClaims(fb.Emptied)
	if len(batch) == 0 {
		return
	}
	e.count(batch)
	if len(bells) > 0 && e.o.Ringer != nil {
		e.o.Ringer.Ring(withItems(bells, batch)...)
	}
}

// tally is a row of the finished metric.
type tally struct {
	queue   string
	outcome task.Outcome
}

// count sums a batch for the metrics. The store says what it fenced.
func (e *Engine) count(batch []*run) {
	sums := map[tally]int{}
	retried, n := 0, 0
	last := tally{}
	for _, r := range batch {
		if r.end.Fenced || r.end.Await && r.end.Final == task.Waiting {
			continue
		}
		if t := (tally{r.lane.Queue, r.end.Outcome}); t != last {
			sums[last] += n
			last, n = t, 0
		}
		n++
		if r.end.Final == task.Waiting && r.end.Outcome != task.OutcomeSnoozed {
			retried++
		}
	}
	sums[last] += n
	for t, k := range sums {
		if k > 0 {
			e.o.Metrics.Finished(t.queue, t.outcome.String(), k)
		}
	}
	if retried > 0 {
		e.o.Metrics.Retried(retried)
	}
}

// withItems adds what is known of the tasks of new bells, so that nobody has to read them from the database.
func withItems(bells []task.Bell, batch []*run) []task.Rung {
	byID := make(map[int64]*run, len(batch))
	for _, r := range batch {
		byID[r.end.TaskID] = r
	}
	out := make([]task.Rung, len(bells))
	for i, b := range bells {
		out[i].Bell = b
		for _, id := range b.TaskIDs {
			if r := byID[id]; r != nil && len(r.item.Body) > 0 && len(r.item.Body) <= task.MaxInlineBody {
				out[i].Items = append(out[i].Items, r.again())
			}
		}
	}
	return out
}

// again is the item of the task's next attempt.
func (r *run) again() task.Item {
	it := r.item
	if r.end.Outcome != task.OutcomeSnoozed {
		it.Failures++
	}
	it.Flags |= task.HasAttempts
	return it
}
