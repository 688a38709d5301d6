package measure

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/taskweir/taskweir/test/peers/system"
)

// The names of figures that ratios are made of.
const (
	Drain         = "drain"
	DrainCPU      = "CPU per 1,000 drained"
	Steady256     = "steady, 256 callers"
	Steady32      = "steady, 32 callers"
	SteadyBulk    = "steady, bulk of 500"
	SteadyHTTP    = "steady over HTTP, 256 clients"
	BareHTTP      = "bare HTTP POSTs, 256 clients"
	BareHTTPFew   = "bare HTTP POSTs, 16 clients"
	Callbacks     = "HTTP callbacks"
	Pickup        = "pickup at 200/s"
	InstantBulk   = "10,000 due at once, submitted in bulk"
	InstantSingle = "10,000 due at once, submitted singly"
	Spread        = "due one by one, 200/s"
	Cancel        = "cancel"
	Memory        = "memory with 1,000,000 delayed"
	MemoryGrown   = ": more than without"
	NeverEnded    = ": contexts that never ended"
)

// room is how many tasks a section has room for whose number is bounded by time: far more than any system takes.
const room = 1 << 21

// submits measures every way of submitting while nothing works, and then lets it all be worked off, to count it.
func (r *round) submits(ctx context.Context) error {
	if err := r.hold(ctx); err != nil {
		return err
	}
	s, err := r.section(ctx, room, false)
	if err != nil {
		return err
	}
	for _, n := range []int{1, 32, 256} {
		before := r.number.Load()
		took, err := callers(ctx, n, r.o.Submit, func(ctx context.Context, _ int) error { return r.sys.Submit(ctx, r.next(system.Noop)) })
		if err != nil {
			return err
		}
		r.res.add(fmt.Sprintf("submit, %d callers", n), "tasks/s", perSecond(r.number.Load()-before, took))
	}
	const name = "submit, bulk of 500, 2 callers"
	if !r.hasBulk[false] {
		r.res.none(name, "tasks/s")
	} else {
		before := r.number.Load()
		took, err := callers(ctx, bulkCallers, r.o.Submit, func(ctx context.Context, _ int) error {
			return r.sys.SubmitBulk(ctx, r.many(system.BulkSize, system.Noop, time.Time{}))
		})
		if err != nil {
			return err
		}
		r.res.add(name, "tasks/s", perSecond(r.number.Load()-before, took))
	}
	if err := r.work(ctx); err != nil {
		return err
	}
	_, err = r.finish(ctx, "submit", s)
	return err
}

// drain measures how fast a backlog of no-op tasks is worked off, and what that costs all processes.
func (r *round) drain(ctx context.Context) error {
	s, err := r.filled(ctx, r.o.Drain, system.Noop)
	if err != nil {
		return err
	}
	before, err := r.cpu()
	if err != nil {
		return err
	}
	if err := r.drained(ctx, Drain, s); err != nil {
		return err
	}
	after, err := r.cpu()
	if err != nil {
		return err
	}
	var all float64
	for name := range r.processes() {
		ms := float64((after[name] - before[name]).Microseconds()) / 1000 * 1000 / float64(r.submitted(s))
		all += ms
		r.res.add(DrainCPU+": "+name, "ms", ms)
	}
	r.res.add(DrainCPU, "ms", all)
	return nil
}

// filled gives a section of tasks that wait.
func (r *round) filled(ctx context.Context, n int, kind system.Kind) (*section, error) {
	if err := r.hold(ctx); err != nil {
		return nil, err
	}
	s, err := r.section(ctx, n, false)
	if err != nil {
		return nil, err
	}
	if _, err := r.fill(ctx, n, kind, time.Time{}); err != nil {
		return nil, err
	}
	return s, pause(ctx, r.o.Settle)
}

// drained lets the worker go and measures from the first start until all have ended.
func (r *round) drained(ctx context.Context, name string, s *section) error {
	if err := r.work(ctx); err != nil {
		return err
	}
	ended, err := r.finish(ctx, name, s)
	if err != nil {
		return err
	}
	first := time.Duration(s.first.Load() - 1)
	r.res.add(name, "tasks/s", perSecond(s.handled.Load(), ended-first))
	return nil
}

// ahead is how many tasks the submitters may be ahead of the handlers: work in balance, not a growing backlog.
const ahead = 10_000

// steady measures submitting, executing and completing at once.
func (r *round) steady(ctx context.Context) error {
	for _, how := range []struct {
		name    string
		callers int
	}{{Steady32, 32}, {Steady256, 256}} {
		if err := r.flow(ctx, how.name, how.callers, func(ctx context.Context) error { return r.sys.Submit(ctx, r.next(system.Noop)) }); err != nil {
			return err
		}
	}
	if !r.hasBulk[false] {
		r.res.none(SteadyBulk, "tasks/s")
		return nil
	}
	return r.flow(ctx, SteadyBulk, bulkCallers, func(ctx context.Context) error {
		return r.sys.SubmitBulk(ctx, r.many(system.BulkSize, system.Noop, time.Time{}))
	})
}

// flow lets callers submit for some time while the worker works, and measures until all have ended.
func (r *round) flow(ctx context.Context, name string, n int, submit func(ctx context.Context) error) error {
	s, err := r.section(ctx, room, false)
	if err != nil {
		return err
	}
	began := r.rec.now()
	g := gate{closed: func() bool { return r.submitted(s)-s.handled.Load() > ahead }}
	_, err = callers(ctx, n, r.o.Steady, func(ctx context.Context, _ int) error {
		if err := g.pass(ctx); err != nil {
			return err
		}
		return submit(ctx)
	})
	if err != nil {
		return err
	}
	ended, err := r.finish(ctx, name, s)
	if err != nil {
		return err
	}
	r.res.add(name, "tasks/s", perSecond(s.handled.Load(), ended-began))
	return pause(ctx, r.o.Settle)
}

// gate holds callers back. Only one of them looks whether it is open again: many that wake up each millisecond would take the
// processors from the system that is measured, and most from one that executes more slowly than it accepts.
type gate struct {
	closed func() bool
	one    sync.Mutex
}

// pass returns when the gate is open.
func (g *gate) pass(ctx context.Context) error {
	if !g.closed() {
		return nil
	}
	g.one.Lock()
	defer g.one.Unlock()
	for g.closed() {
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// callbacks drains tasks that call the receiver.
func (r *round) callbacks(ctx context.Context) error {
	s, err := r.filled(ctx, r.o.Callbacks, system.Call)
	if err != nil {
		return err
	}
	return r.drained(ctx, Callbacks, s)
}
