package httpcall

import "time"

// state of a breaker.
type state uint8

const (
	closed state = iota
	open
	halfOpen
)

// String is the state as the metric names it.
func (s state) String() string { return [...]string{"closed", "open", "half_open"}[s] }

// verdict is what a call says of its endpoint.
type verdict uint8

const (
	nothing verdict = iota // it was broken off by us
	alive
	failing
)

// windowSeconds is the number of buckets of the ratio; a longer window counts as this long.
const windowSeconds = 30

// breaker is the state machine of one endpoint. It is guarded by the endpoint's lock and knows no clock.
//
//	closed ──10 failures in a row, or half of 20 calls within 30 s──▶ open ──its time is over──▶ half-open
//	  ▲                                                                ▲                          │   │
//	  └──────────────────────── a probe succeeds ──────────────────────┼──────────────────────────┘   │
//	                                                                   └── a probe fails: twice the time
type breaker struct {
	state  state
	row    int // failures in a row, while closed
	recent [windowSeconds]bucket
	turn   int64         // counts changes of state: calls that began before the last one do not count
	pause  time.Duration // of the current or last opening
	until  time.Time     // open until then
	probes int           // under way, while half-open
	probed time.Time     // when the last of them began

	postponed int // tasks, since the last opening
}

// bucket counts the calls that ended in one second.
type bucket struct {
	second    int64
	good, bad int32
}

// held says for how much longer calls are held back; 0: this one may go. When the time is over the breaker is half-open.
func (b *breaker) held(now time.Time) time.Duration {
	switch b.state {
	case open:
		if d := b.until.Sub(now); d > 0 {
			return d
		}
		b.change(halfOpen)
	case halfOpen:
	default:
		return 0
	}
	if b.probes >= probesMost && now.Sub(b.probed) < probeFor {
		return max(b.pause/4, postpone) // the probes will tell
	}
	return 0
}

// admit lets a call go that is not held.
func (b *breaker) admit(now time.Time) (turn int64, probe bool) {
	if b.state == halfOpen {
		b.probes++
		b.probed = now
	}
	if b.turn == 0 {
		b.turn = 1 // 0 is for calls that are not bound
	}
	return b.turn, b.state == halfOpen
}

func (b *breaker) change(s state) {
	b.state, b.probes, b.row, b.postponed = s, 0, 0, 0
	b.turn = max(b.turn, 1) + 1
	if s == closed {
		b.recent, b.pause = [windowSeconds]bucket{}, 0
	}
}

// count takes a call's verdict in. second is any clock that counts seconds evenly.
func (b *breaker) count(o *GateOptions, p *pass, v verdict, now time.Time, second int64) {
	if p.turn != b.turn {
		return
	}
	if p.probe {
		b.probes--
	}
	switch {
	case v == nothing:
	case b.state == halfOpen && v == alive:
		b.change(closed)
	case b.state == halfOpen:
		b.trip(o, now)
	case b.state == closed && b.failed(o, v == failing, second):
		b.trip(o, now)
	}
}

// failed counts a call of a closed breaker and reports whether that opens it.
func (b *breaker) failed(o *GateOptions, bad bool, second int64) bool {
	at := &b.recent[second%windowSeconds]
	if at.second != second {
		*at = bucket{second: second}
	}
	if !bad {
		at.good++
		b.row = 0
		return false // a success opens nothing, whatever was before
	}
	at.bad++
	if b.row++; b.row >= o.Failures {
		return true
	}
	since := second - min(int64(o.Window/time.Second), windowSeconds)
	var calls, fails int
	for i := range b.recent {
		if r := &b.recent[i]; r.second > since {
			calls, fails = calls+int(r.good+r.bad), fails+int(r.bad)
		}
	}
	return calls >= o.MinCalls && 2*fails >= calls
}

// trip opens the breaker, for twice as long as the last time when nothing was well in between.
func (b *breaker) trip(o *GateOptions, now time.Time) {
	pause := min(max(2*b.pause, o.OpenFor), o.OpenMost)
	b.change(open)
	b.pause, b.until = pause, now.Add(pause)
}
