package load

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
	"github.com/taskweir/taskweir/test/faults/history"
)

// Short names of queues. Plain ones are plain0 …
const (
	limited    = "limited"
	paused     = "paused"
	plain      = "plain"
	plainCount = 4
)

// limitKey is the short name of the limit key that some tasks of plain queues carry.
const limitKey = "shared"

// draw is one thing that a client does: a submit with what follows it.
type draw struct {
	n     int // number of the draw
	r     *rand.Rand
	wants []*ticket
	batch bool
	next  []follow // after the answer
}

// follow is what is asked of a task later.
type follow string

// What follows a submit.
const (
	cancelWaiting follow = "cancel while it waits"
	cancelRunning follow = "cancel while it runs"
	retryEnded    follow = "retry when it has failed or was cancelled"
	forceEnded    follow = "retry when it has succeeded"
	runNow        follow = "run now"
	replay        follow = "submit again"
	misuse        follow = "use its key for something else"
)

// drawn draws number n of the mix. The same seed and number give the same.
func (l *Load) drawn(n int) *draw {
	d := &draw{n: n, r: rand.New(rand.NewPCG(l.o.Seed, uint64(n)))}
	count := 1
	if d.batch = d.chance(0.1); d.batch {
		count = 2 + d.r.IntN(30)
	}
	for i := range count {
		t := &ticket{want: history.Want{Tag: fmt.Sprintf("%s.%d.%d", l.name, n, i), Kind: "http", Queue: l.queue(fmt.Sprintf("%s%d", plain, d.r.IntN(plainCount))), Priority: "normal", RetryMax: 3}}
		d.wants = append(d.wants, t)
		d.place(l, &t.want)
		d.plan(&t.want)
	}
	if !d.batch {
		d.special(l, &d.wants[0].want)
	}
	if d.chance(0.03) {
		d.next = append(d.next, replay)
	}
	if d.chance(0.01) {
		d.next = append(d.next, misuse)
	}
	return d
}

func (d *draw) chance(p float64) bool { return d.r.Float64() < p }

// within draws from [from, to) ms.
func (d *draw) within(from, to int64) int64 { return from + d.r.Int64N(to-from) }

// place draws where and when a task runs.
func (d *draw) place(l *Load, w *history.Want) {
	switch p := d.r.Float64(); {
	case p < 0.2:
		w.Priority = "high"
	case p < 0.4:
		w.Priority = "low"
	}
	if d.chance(0.15) {
		w.Kind = "callback"
	}
	if d.chance(0.06) {
		w.Queue = l.queue(limited)
	} else if d.chance(0.06) && !l.o.NoLimitKey {
		w.LimitKey = l.queue(limitKey)
	}
	if d.chance(0.15) {
		w.DelayMs = d.within(50, 3000)
	}
	w.Completion = d.chance(0.05)
}

// plan draws how its calls end.
func (d *draw) plan(w *history.Want) {
	switch p := d.r.Float64(); {
	case p < 0.05:
		w.Plan.Fail = 1 + d.r.IntN(2)
	case p < 0.06:
		w.Plan.Fail, w.RetryMax = -1, d.r.IntN(3)
	case p < 0.07:
		w.Plan.Fail, w.Plan.Deny = -1, true
	case p < 0.085: // times out once, or always
		w.Plan.Hold, w.TimeoutMs, w.Plan.Slow, w.RetryMax = 5*time.Second, 700, d.r.IntN(2), 2
	case p < 0.125:
		w.Plan.Async = true
		if d.chance(0.2) {
			w.Plan.Fail = 1
		}
	case p < 0.2:
		w.Plan.Hold = time.Duration(d.within(20, 400)) * time.Millisecond
	}
}

// special draws what only single submits have: unique keys, expiries, and what clients ask for later.
func (d *draw) special(l *Load, w *history.Want) {
	switch p := d.r.Float64(); {
	case p < 0.10:
		d.unique(l, w)
	case p < 0.12:
		w.Queue, w.ExpiresInMs, w.DelayMs = l.queue(paused), d.within(300, 2500), 0
	case p < 0.15:
		w.DelayMs, d.next = d.within(2500, 4000), append(d.next, cancelWaiting)
	case p < 0.18:
		w.Plan = history.Plan{Hold: 25 * time.Second, Slow: 1}
		w.TimeoutMs, w.DelayMs, d.next = 0, 0, append(d.next, cancelRunning)
		if d.chance(0.3) {
			d.next = append(d.next, retryEnded)
		}
	case p < 0.20:
		w.Plan, w.RetryMax, w.TimeoutMs = history.Plan{Fail: 1, Deny: true}, 3, 0
		if d.chance(0.5) {
			w.Plan, w.RetryMax = history.Plan{Fail: 1}, 0
		}
		d.next = append(d.next, retryEnded)
	case p < 0.21:
		w.Plan, w.TimeoutMs = history.Plan{}, 0
		d.next = append(d.next, forceEnded)
	case p < 0.23:
		w.DelayMs, d.next = d.within(15_000, 20_000), append(d.next, runNow)
	}
}

// uniqueKeys is how many keys of each scope there are: few enough to meet.
const uniqueKeys = 12

// unique gives a task a unique key that others have too.
func (d *draw) unique(l *Load, w *history.Want) {
	u := &history.Unique{Scope: "until_finished", OnConflict: []string{"reject", "reject", "keep", "replace"}[d.r.IntN(4)]}
	pool := uniqueKeys
	switch p := d.r.Float64(); {
	case p < 0.2:
		u.Scope = "until_started"
	case p < 0.3:
		u.Scope, w.DelayMs = "until_due", d.within(0, 2)*d.within(500, 3000)
	case p < 0.5:
		u.Scope, u.WindowMs = "window", d.within(300, 3000)
	case p < 0.6:
		u.Scope, pool = "forever", 40*uniqueKeys
	}
	u.Key = fmt.Sprintf("%s-%s-%d", l.name, u.Scope, d.r.IntN(pool))
	w.Unique = u
	if w.DelayMs == 0 && d.chance(0.5) {
		w.Plan.Hold = time.Duration(d.within(100, 800)) * time.Millisecond
		w.TimeoutMs = 0
	}
}

// submit is a want as the API takes it.
func (l *Load) submit(w *history.Want, now apiv1.Time) apiv1.Submit {
	b, _ := json.Marshal(body{Tag: w.Tag, Queue: w.Queue}) // two strings
	s := apiv1.Submit{Kind: w.Kind, Queue: w.Queue, Priority: w.Priority, Payload: b,
		Retry: &apiv1.Retry{Policy: apiv1.RetryFixed, BaseMs: new(int64(200)), Max: new(int64(w.RetryMax))}}
	if w.Kind == "http" {
		s.Payload = fmt.Appendf(nil, `{"url":"%s/http","body":%s}`, l.sink.url, b)
	}
	s.LimitKey = w.LimitKey
	if w.DelayMs > 0 {
		s.DelayMs = &w.DelayMs
	}
	if w.TimeoutMs > 0 {
		s.TimeoutMs = &w.TimeoutMs
	}
	if w.ExpiresInMs > 0 {
		s.ExpiresAt = new(now + apiv1.Time(w.ExpiresInMs))
	}
	if w.Completion {
		s.CompletionURL = l.sink.url + "/done"
	}
	if u := w.Unique; u != nil {
		s.UniqueKey, s.UniqueScope, s.UniqueOnConflict = u.Key, u.Scope, u.OnConflict
		if u.WindowMs > 0 {
			s.UniqueWindowMs = &u.WindowMs
		}
	}
	return s
}
