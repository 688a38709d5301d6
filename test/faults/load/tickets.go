package load

import (
	"sync"
	"time"

	"github.com/taskweir/taskweir/test/faults/history"
)

// ticket is a task that was asked for, by its tag: what the sink does with its calls, and what clients do when it calls.
type ticket struct {
	want    history.Want
	calls   int
	began   func(e *history.Effect)              // the first call began; may be nil
	over    func(e *history.Effect, failed bool) // an attempt was taken over; how it is to end
	granted bool
}

// turn is what becomes of one call.
type turn struct {
	hold              time.Duration
	fail, deny, async bool
	began, after      func() // may be nil
}

func (t *turn) now() {
	if t.began != nil {
		t.began()
	}
}

// tickets are all tasks that were asked for.
type tickets struct {
	mu    sync.Mutex
	byTag map[string]*ticket
	good  int
}

func newTickets() *tickets { return &tickets{byTag: map[string]*ticket{}} }

// issue makes tasks known to the sink, before they are asked for.
func (t *tickets) issue(list ...*ticket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, one := range list {
		t.byTag[one.want.Tag] = one
	}
}

// grant counts a ticket whose task was answered 2xx.
func (t *tickets) grant(one *ticket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !one.granted {
		one.granted = true
		t.good++
	}
}

func (t *tickets) accepted() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.good
}

// called gives what the plan says of a call; nil when there is no such task. Calls of epochs that are overtaken use up nothing of
// the plan only when the sink refuses them, which it does before it asks.
func (t *tickets) called(tag string, e *history.Effect) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.byTag[tag]
	if one == nil {
		return nil
	}
	one.calls++
	p := &one.want.Plan
	now := &turn{deny: p.Deny, async: p.Async, fail: p.Fail < 0 || one.calls <= p.Fail}
	if p.Slow == 0 || one.calls <= p.Slow {
		now.hold = p.Hold
	}
	if one.began != nil && one.calls == 1 {
		now.began = func() { one.began(e) }
	}
	if p.Async && one.over != nil {
		failed := now.fail
		now.after = func() { one.over(e, failed) }
	}
	return now
}
