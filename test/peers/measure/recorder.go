package measure

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/test/peers/system"
)

// recorder is the handler of every system: it does what a task asks for, and notes it in the section that is open.
type recorder struct {
	zero   time.Time // instants are noted as time since then
	open   atomic.Pointer[section]
	client *http.Client
	url    atomic.Pointer[string] // of the receiver
}

// connections are kept open to the receiver.
const connections = 512

func newRecorder() *recorder {
	r := &recorder{zero: time.Now(), client: newClient(connections)}
	r.open.Store(newSection(1, 0, false))
	return r
}

// newClient keeps that many connections open.
func newClient(connections int) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConns: connections, MaxIdleConnsPerHost: connections,
		MaxConnsPerHost: connections, DisableCompression: true}}
}

// Handle implements system.Handler. A Call is noted by the receiver, since some systems make calls themselves.
func (r *recorder) Handle(ctx context.Context, payload []byte) error {
	t, err := system.ParsePayload(payload)
	if err != nil {
		return err
	}
	switch t.Kind {
	case system.Call:
		return system.Post(ctx, r.client, *r.url.Load(), payload)
	case system.Wait:
		s := r.note(t.Number)
		<-ctx.Done()
		s.ended(t.Number, r.now())
		return ctx.Err()
	default:
		r.note(t.Number)
		return nil
	}
}

// note notes the start of a task.
func (r *recorder) note(number int64) *section {
	s := r.open.Load()
	s.started(number, r)
	return s
}

func (r *recorder) now() time.Duration { return time.Since(r.zero) }

// section is what happens to the tasks of one measure, which have consecutive numbers.
type section struct {
	from   int64
	runs   []atomic.Uint32
	starts []atomic.Int64 // instants of first starts, + 1; only where latencies are asked for
	ends   []atomic.Int64 // instants at which contexts ended, + 1

	handled, extra, cancelled atomic.Int64 // tasks run, runs beyond the first, contexts ended
	first, last               atomic.Int64 // instants + 1 of the first start, and of the last where latencies are asked for
}

// newSection has room for that many tasks.
func newSection(from int64, room int, times bool) *section {
	s := &section{from: from, runs: make([]atomic.Uint32, room)}
	if times {
		s.starts, s.ends = make([]atomic.Int64, room), make([]atomic.Int64, room)
	}
	return s
}

// started counts a run. One of another section's tasks is a run too many: everything had ended when this one began.
func (s *section) started(number int64, r *recorder) {
	i := number - s.from
	if i < 0 || i >= int64(len(s.runs)) || s.runs[i].Add(1) > 1 {
		s.extra.Add(1)
		return
	}
	if s.first.Load() == 0 {
		s.first.CompareAndSwap(0, int64(r.now())+1)
	}
	if s.starts != nil {
		at := int64(r.now()) + 1
		s.starts[i].Store(at)
		s.last.Store(at)
	}
	s.handled.Add(1)
}

// ended notes the end of a context.
func (s *section) ended(number int64, at time.Duration) {
	if i := number - s.from; i >= 0 && i < int64(len(s.ends)) {
		s.ends[i].Store(int64(at) + 1)
		s.cancelled.Add(1)
	}
}

// startOf is when a task of the section was first started.
func (s *section) startOf(number int64) (time.Duration, bool) {
	at := s.starts[number-s.from].Load()
	return time.Duration(at - 1), at > 0
}

// endOf is when the context of a task of the section ended.
func (s *section) endOf(number int64) (time.Duration, bool) {
	at := s.ends[number-s.from].Load()
	return time.Duration(at - 1), at > 0
}
