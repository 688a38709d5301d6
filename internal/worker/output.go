package worker

import (
	"context"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// output is what an attempt wrote so far: how much, and the last of it. It costs nothing until something is written, and nobody is
// told of it who does not ask.
type output struct {
	mu    sync.Mutex
	buf   []byte // at most twice task.MaxLog; its last byte is the last that was written
	total int64
}

func (o *output) write(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.total += int64(len(p))
	p = p[max(0, len(p)-task.MaxLog):]
	if len(o.buf)+len(p) > 2*task.MaxLog { // moved once in 64 KiB, not with every line
		keep := max(0, task.MaxLog-len(p))
		o.buf = append(o.buf[:0], o.buf[len(o.buf)-min(keep, len(o.buf)):]...)
	}
	o.buf = append(o.buf, p...)
}

// from gives what is kept from a byte on, at most task.MaxLog, where it begins, and how much was written.
func (o *output) from(at int64) (log []byte, from, total int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	kept := o.buf[max(0, len(o.buf)-task.MaxLog):]
	first := o.total - int64(len(kept))
	at = min(max(at, first), o.total)
	return append([]byte(nil), kept[at-first:]...), at, o.total
}

// Output adds to what the attempt has written, for those who follow its log while it runs. What a runner returns as Result.Log
// is kept in the end, and where that is nil the last 64 KiB of this. It costs no I/O, and may be called from any goroutine.
func (j Job) Output(p []byte) {
	if j.run == nil || len(p) == 0 {
		return
	}
	j.run.written().write(p)
}

// written is the attempt's output, made when it is first needed.
func (r *run) written() *output {
	for {
		if o := r.output.Load(); o != nil {
			return o
		}
		r.output.CompareAndSwap(nil, &output{})
	}
}

// keepOutput makes what was written the log of the attempt when its runner gave none, and says where the log begins in it.
func (r *run) keepOutput(res *task.Result) {
	o := r.output.Load()
	if o == nil {
		return
	}
	log, _, total := o.from(0)
	if res.Log == nil && len(log) > 0 {
		res.Log = log
	}
	r.end.LogSkipped = max(0, total-int64(len(res.Log)))
}

// peeking answers peeks, each for itself: they need no profile.
func (e *Engine) peeking() {
	for {
		select {
		case s := <-e.peeks:
			e.peek(s)
		case <-e.ctx.Done():
			return
		}
	}
}

func (e *Engine) peek(s task.Signal) {
	ctx, cancel := context.WithTimeout(e.ctx, 2*time.Second)
	defer cancel()
	d := e.detail(s.TaskID, s.Epoch)
	if r := e.find(s.TaskID, s.Epoch); r != nil && !d.Gone && s.From >= 0 {
		if o := r.output.Load(); o != nil {
			d.Log, d.LogFrom, d.LogSize = o.from(s.From)
		}
	}
	e.unreached(e.o.Live.Answer(ctx, e.workerID(), s.Reply, d))
}
