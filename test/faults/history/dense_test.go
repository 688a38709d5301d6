package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// gap is just longer than what a worker needs to find back in legal histories.
const gap = findsBack + 500*ms + ms

// dense hurts every worker and every part for a second out of ten, as the long run does; the last time so long before a moment.
func dense(h *History, before time.Duration, moment time.Duration) {
	first := moment - before - time.Second
	for first > 0 {
		first -= 10 * time.Second
	}
	for at := first + 10*time.Second; at < 200*time.Second; at += 10 * time.Second {
		n := len(h.Faults)
		for i := range 4 {
			h.Faults = append(h.Faults, Fault{N: n + 10 + i, Kind: "cut worker→mariadb", Injected: at, Ended: at + time.Second, Workers: []string{fmt.Sprintf("worker%d", i+1)}, Late: true})
		}
		h.Faults = append(h.Faults, Fault{N: n + 15, Kind: "cut api", Injected: at, Ended: at + time.Second, Parts: []string{PartAPI, PartScheduler, PartDatabase, PartSink, PartNSQ}})
	}
}

// began is when an effect began in the harness's time, of an attempt that was claimed 2 ms before.
func began(h *History, task int64, epoch int) time.Duration {
	return effectOf(h, task, epoch).Began - 2*ms
}

var inBetween = []planted{
	{"a failure that the sink knows nothing of", RuleAttempt, func(h *History, r *rand.Rand) {
		a := pick(r, h.End.Attempts, failedFirst(h))
		effectOf(h, a.Task, 1).Status = 200
		dense(h, gap+100*ms, began(h, a.Task, 1))
	}},
	{"a loss", RuleAttempt, func(h *History, r *rand.Rand) {
		a := pick(r, h.End.Attempts, failedFirst(h))
		a.Outcome = "lost"
		dense(h, gap+100*ms, began(h, a.Task, 1))
	}},
	{"an effect that came again", RuleDuplicate, func(h *History, r *rand.Rand) {
		a := pick(r, h.End.Attempts, failedFirst(h))
		effectOf(h, a.Task, 1).Status = 200
		dense(h, gap+100*ms, began(h, a.Task, 1))
	}},
	{"a late effect, right after the fault", RuleLate, func(h *History, r *rand.Rand) {
		a := pick(r, h.End.Attempts, failedFirst(h))
		row := pickRow(h, r, func(x *Row) bool { return x.ID == a.Task })
		e := effectOf(h, a.Task, 1)
		for i := range h.End.Attempts {
			if b := &h.End.Attempts[i]; b.Task == a.Task && b.Epoch == 2 {
				b.Started = db(e.Began - 50*ms)
			}
		}
		if row.Epoch == 2 {
			row.Started = db(e.Began - 50*ms)
		}
		dense(h, 100*ms, began(h, a.Task, 1))
	}},
	{"a call that failed", RuleAnswer, func(h *History, r *rand.Rand) {
		o := pick(r, h.Ops, func(o *Op) bool { return o.Kind == OpSubmit && o.Done() && o.Sent > 70*time.Second })
		o.Failed = []Try{{Sent: o.Sent, Over: o.Sent + ms, Status: 503}}
		dense(h, answersAgain+ms, o.Sent)
	}},
}

// Faults every few seconds do not explain what happens between them.
func TestPlantedBetweenManyFaultsAreFound(t *testing.T) {
	for _, p := range inBetween {
		t.Run(p.name, func(t *testing.T) {
			for seed := range uint64(40) {
				h := legal(seed)
				p.plant(h, rand.New(rand.NewPCG(seed, 17)))
				if r := Check(h); !slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Rule == p.rule }) {
					t.Fatalf("seed %d: not found as %q; found: %s", seed, p.rule, r.Summary(3))
				}
			}
		})
	}
}

// What is legal stays so between many faults, and the report says how much they reach.
func TestReachOfManyFaults(t *testing.T) {
	for seed := range uint64(40) {
		h := legal(seed)
		dense(h, gap, 100*time.Second)
		r := Check(h)
		if !r.OK() {
			t.Fatalf("seed %d: %s", seed, r.Summary(3))
		}
		if r.Reach < 0.3 || r.Reach > 0.45 { // 3.5 s of ten, and worker 4's ten seconds
			t.Fatalf("seed %d: the reach is %v", seed, r.Reach)
		}
	}
	if r := Check(legal(1)); r.Reach > 0.05 || r.After != 0 {
		t.Fatalf("with three faults: %+v", r)
	}
}

// A loss just after a fault is its consequence, and counted.
func TestLossJustAfterAFaultIsCounted(t *testing.T) {
	h := legal(1)
	h.Faults[0].Injected, h.Faults[0].Ended = 10*time.Second, 18*time.Second // the claim comes 2 s later, and the late call with it
	r := Check(h)
	if r.After == 0 || slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Rule == RuleAttempt }) {
		t.Fatalf("%d after: %s", r.After, r.Summary(3))
	}
}
