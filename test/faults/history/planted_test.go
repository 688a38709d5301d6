package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// planted is one thing that must not happen, put into a history in which nothing is wrong.
type planted struct {
	name  string
	rule  Rule
	plant func(h *History, r *rand.Rand) // panics where a history has no place for it
}

// pick picks one of the things for which ok holds.
func pick[T any](r *rand.Rand, list []T, ok func(*T) bool) *T {
	var at []int
	for i := range list {
		if ok(&list[i]) {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		panic(fmt.Sprintf("no %T to plant in", *new(T)))
	}
	return &list[at[r.IntN(len(at))]]
}

func pickRow(h *History, r *rand.Rand, ok func(*Row) bool) *Row { return pick(r, h.End.Tasks, ok) }

// plainSuccess finds tasks whose submit was answered once and which succeeded at once.
func plainSuccess(h *History) func(*Row) bool {
	retried, answered := map[int64]bool{}, map[int64]int{}
	for _, a := range h.End.Attempts {
		retried[a.Task] = true
	}
	for _, o := range h.Ops {
		for _, it := range o.Items {
			if o.Kind == OpSubmit || o.Kind == OpReplay {
				answered[it.Task]++
			}
		}
	}
	return func(r *Row) bool {
		return r.State == "succeeded" && r.Kind == "http" && r.Epoch == 1 && !retried[r.ID] && answered[r.ID] == 1
	}
}

// submitOf is the submit of a task.
func submitOf(h *History, row *Row) *Op {
	for i := range h.Ops {
		if o := &h.Ops[i]; o.Kind == OpSubmit && o.Wants[0].Tag == row.Tag {
			return o
		}
	}
	panic("no such submit")
}

// failedFirst finds first attempts that failed, without an explicit retry, and were followed by another.
func failedFirst(h *History) func(*Attempt) bool {
	return func(a *Attempt) bool {
		return a.Outcome == "failed" && a.Epoch == 1 && !slices.ContainsFunc(h.End.Audit, func(x Audited) bool { return x.Task == a.Task }) &&
			slices.ContainsFunc(h.Effects, func(e Effect) bool { return e.Task == a.Task && e.Epoch == 2 })
	}
}

func drop[T any](list *[]T, gone func(*T) bool) {
	*list = slices.DeleteFunc(*list, func(x T) bool { return gone(&x) })
}

func effectOf(h *History, task int64, epoch int) *Effect {
	for i := range h.Effects {
		if h.Effects[i].Task == task && h.Effects[i].Epoch == epoch {
			return &h.Effects[i]
		}
	}
	panic("no such effect")
}

func withOutcome(outcome string) func(*Attempt) bool {
	return func(a *Attempt) bool { return a.Outcome == outcome }
}

var everything = []planted{
	{"an accepted task is gone", RuleLost, func(h *History, r *rand.Rand) {
		row := pickRow(h, r, plainSuccess(h))
		drop(&h.End.Tasks, func(x *Row) bool { return x.ID == row.ID })
	}},
	{"an accepted task never ends", RuleLost, func(h *History, r *rand.Rand) {
		row := pickRow(h, r, func(x *Row) bool { return x.State == "failed" && x.Reason == "exhausted" })
		row.State, row.Reason, row.Finished = "waiting", "", 0
	}},
	{"a task is stuck at the deadline", RuleLost, func(h *History, r *rand.Rand) {
		h.End.Stuck = append(h.End.Stuck, Stuck{Task: h.End.Tasks[r.IntN(len(h.End.Tasks))].ID, State: "queued", Verdict: "behind_older"})
	}},
	{"an answer names another task", RuleLost, func(h *History, r *rand.Rand) {
		o := pick(r, h.Ops, func(o *Op) bool { return o.Kind == OpSubmit && o.Done() })
		o.Items[0].Task = pickRow(h, r, func(x *Row) bool { return x.Tag != o.Wants[0].Tag }).ID
	}},
	{"an answer to a batch is too short", RuleLost, func(h *History, r *rand.Rand) {
		o := pick(r, h.Ops, func(o *Op) bool { return o.Kind == OpSubmit && o.Done() })
		o.Items = nil
	}},
	{"a task that nobody submitted", RulePhantom, func(h *History, r *rand.Rand) {
		row := *pickRow(h, r, plainSuccess(h))
		row.ID, row.Tag, row.Attempt = 9_999_999, "nobody", 9_999_999
		h.End.Tasks = append(h.End.Tasks, row)
	}},
	{"a task whose submit was refused", RulePhantom, func(h *History, r *rand.Rand) {
		o := submitOf(h, pickRow(h, r, plainSuccess(h)))
		o.Status, o.Code, o.Items = 422, "invalid", []Item{{Status: 422, Code: "invalid"}}
	}},
	{"a task made twice under one key", RuleIdempotency, func(h *History, r *rand.Rand) {
		row := *pickRow(h, r, plainSuccess(h))
		row.ID, row.Attempt = 9_999_999, 9_999_999
		h.End.Tasks = append(h.End.Tasks, row)
	}},
	{"a replay that answers another task", RuleIdempotency, func(h *History, r *rand.Rand) {
		o := pick(r, h.Ops, func(o *Op) bool { return o.Kind == OpReplay })
		o.Items[0].Task = pickRow(h, r, func(x *Row) bool { return x.ID != o.Items[0].Task }).ID
	}},
	{"a key taken for another request", RuleIdempotency, func(h *History, r *rand.Rand) {
		o := pick(r, h.Ops, func(o *Op) bool { return o.Kind == OpMisuse })
		o.Status, o.Items = 201, []Item{{Task: h.End.Tasks[0].ID}}
	}},
	{"an answer that never came, without a fault", RuleAnswer, func(h *History, r *rand.Rand) {
		o := pick(r, h.Ops, func(o *Op) bool { return o.Kind == OpSubmit && o.Done() && o.Sent > 100*time.Second })
		o.Failed = []Try{{Sent: o.Sent, Over: o.Sent + ms, Status: 503}}
	}},
	{"a call that failed at once while a worker was stopped", RuleAnswer, func(h *History, _ *rand.Rand) {
		h.Ops[0].Failed = []Try{{Sent: 22 * time.Second, Over: 22*time.Second + ms, Status: 503}}
	}},
	{"a failed call longer after the fault than an API needs", RuleAnswer, func(h *History, r *rand.Rand) {
		after := h.Faults[2].Ended + answersAgain + ms
		h.Ops[r.IntN(len(h.Ops))].Failed = []Try{{Sent: after, Over: after + ms, Status: 503}}
	}},
	{"an internal error, in the middle of a fault", RuleAnswer, func(h *History, _ *rand.Rand) {
		h.Ops[0].Failed = []Try{{Sent: 60500 * ms, Over: 60510 * ms, Status: 500, Code: "internal"}}
	}},
	{"a final state that is left by itself", RuleFinal, func(h *History, r *rand.Rand) {
		o := pick(r, h.Ops, func(o *Op) bool {
			return o.Kind == OpRead && o.Items[0].State == "succeeded" && o.Sent > 70*time.Second
		})
		again := *o
		again.Sent, again.LastSent, again.Answered = o.Sent+10*ms, o.Sent+10*ms, o.Sent+12*ms
		again.Items = []Item{{Task: o.Items[0].Task, State: "running", Epoch: o.Items[0].Epoch}}
		h.Ops = append(h.Ops, again)
	}},
	{"two final states without a retry between them", RuleDouble, func(h *History, r *rand.Rand) {
		submitOf(h, pickRow(h, r, plainSuccess(h))).Items[0].State = "failed"
	}},
	{"a retry that was answered and did not happen", RuleRetry, func(h *History, r *rand.Rand) {
		a := pick(r, h.End.Audit, func(a *Audited) bool {
			return slices.ContainsFunc(h.Ops, func(o Op) bool { return o.Kind == OpRetry && o.Task == a.Task && o.Done() })
		})
		a.Retries = 0
	}},
	{"one retry too many", RuleRetry, func(h *History, r *rand.Rand) { pick(r, h.End.Audit, func(*Audited) bool { return true }).Retries++ }},
	{"a retry that nobody asked for", RuleRetry, func(h *History, r *rand.Rand) {
		row := pickRow(h, r, func(x *Row) bool { return x.Schedule != 0 && x.State == "succeeded" })
		h.End.Audit = append(h.End.Audit, Audited{Task: row.ID, Retries: 1})
	}},
	{"succeeded without a call", RuleOutcome, func(h *History, r *rand.Rand) {
		row := pickRow(h, r, plainSuccess(h))
		drop(&h.Effects, func(e *Effect) bool { return e.Task == row.ID })
	}},
	{"succeeded although the sink refused", RuleOutcome, func(h *History, r *rand.Rand) {
		effectOf(h, pickRow(h, r, plainSuccess(h)).ID, 1).Status = 500
	}},
	{"taken over and completed by nobody", RuleOutcome, func(h *History, r *rand.Rand) {
		o := pick(r, h.Ops, func(o *Op) bool { return o.Kind == OpComplete })
		o.Status, o.Code = 409, "epoch_mismatch"
	}},
	{"given up before its retries were used", RuleOutcome, func(h *History, r *rand.Rand) {
		row := pickRow(h, r, func(x *Row) bool { return x.Reason == "exhausted" })
		row.RetryMax = row.Failures
	}},
	{"permanent although the sink did not say so", RuleOutcome, func(h *History, r *rand.Rand) {
		pickRow(h, r, func(x *Row) bool { return x.Reason == "exhausted" }).Reason = "permanent"
	}},
	{"cancelled by nobody", RuleOutcome, func(h *History, r *rand.Rand) {
		row := pickRow(h, r, func(x *Row) bool { return x.State == "cancelled" && x.Schedule == 0 })
		drop(&h.Ops, func(o *Op) bool { return o.Kind == OpCancel && o.Task == row.ID })
	}},
	{"expired too early", RuleOutcome, func(h *History, r *rand.Rand) {
		row := pickRow(h, r, func(x *Row) bool { return x.Reason == "expired" })
		row.Finished = row.Expires - 100
	}},
	{"lost before three losses were forgiven", RuleOutcome, func(h *History, r *rand.Rand) {
		row := pickRow(h, r, func(x *Row) bool { return x.Reason == "exhausted" })
		row.Reason = "lost"
	}},
	{"more failures than retries", RuleOutcome, func(h *History, r *rand.Rand) {
		row := pickRow(h, r, func(x *Row) bool { return x.Failures == 2 && x.State == "succeeded" })
		row.RetryMax = 0
	}},
	{"a claim without an attempt", RuleEpoch, func(h *History, r *rand.Rand) {
		a := *pick(r, h.End.Attempts, withOutcome("failed"))
		drop(&h.End.Attempts, func(x *Attempt) bool { return x.ID == a.ID })
	}},
	{"an epoch more than claims", RuleEpoch, func(h *History, r *rand.Rand) { pickRow(h, r, plainSuccess(h)).Epoch++ }},
	{"an attempt beyond the epoch", RuleEpoch, func(h *History, r *rand.Rand) {
		a := *pick(r, h.End.Attempts, withOutcome("succeeded"))
		a.Epoch, a.ID = a.Epoch+1, 9_999_999
		h.End.Attempts = append(h.End.Attempts, a)
	}},
	{"the row names another attempt", RuleEpoch, func(h *History, r *rand.Rand) {
		pickRow(h, r, func(x *Row) bool { return x.Reason == "exhausted" }).Attempt--
	}},
	{"one attempt id for two attempts", RuleEpoch, func(h *History, r *rand.Rand) {
		h.End.Attempts[0].ID = pick(r, h.End.Attempts[1:], func(*Attempt) bool { return true }).ID
	}},
	{"a loss that the row does not count", RuleEpoch, func(h *History, r *rand.Rand) {
		pickRow(h, r, func(x *Row) bool { return x.Losses == 1 }).Losses = 0
	}},
	{"an epoch that was seen and taken back", RuleEpoch, func(h *History, r *rand.Rand) {
		pick(r, h.Ops, func(o *Op) bool { return o.Kind == OpRead && o.Items[0].State == "succeeded" }).Items[0].Epoch += 5
	}},
	{"two attempts of one epoch", RuleDouble, func(h *History, r *rand.Rand) {
		a := *pick(r, h.End.Attempts, withOutcome("succeeded"))
		a.ID = 9_999_999
		h.End.Attempts = append(h.End.Attempts, a)
	}},
	{"the result of another epoch", RuleDouble, func(h *History, r *rand.Rand) {
		pickRow(h, r, func(x *Row) bool { return x.HasResult && x.Epoch > 1 }).ResultEpoch--
	}},
	{"a result that names no call", RuleDouble, func(h *History, r *rand.Rand) {
		pickRow(h, r, func(x *Row) bool { return x.HasResult }).ResultCall = 0
	}},
	{"a result that is not there", RuleDouble, func(h *History, r *rand.Rand) {
		row := pickRow(h, r, func(x *Row) bool { return x.HasResult })
		row.HasResult, row.ResultEpoch, row.ResultCall = false, 0, 0
	}},
	{"the result of another call", RuleDouble, func(h *History, r *rand.Rand) {
		pickRow(h, r, func(x *Row) bool { return x.HasResult }).ResultCall = 1 << 40
	}},
	{"an end that is told twice", RuleDouble, func(h *History, r *rand.Rand) {
		row := *pickRow(h, r, func(x *Row) bool { return x.Tells != 0 })
		row.ID, row.Attempt = 9_999_999, 9_999_999
		h.End.Tasks = append(h.End.Tasks, row)
	}},
	{"a call of a task that is not there", RuleEffect, func(h *History, r *rand.Rand) {
		e := h.Effects[r.IntN(len(h.Effects))]
		e.Task = 9_999_999
		h.Effects = append(h.Effects, e)
	}},
	{"two calls of one epoch", RuleEffect, func(h *History, r *rand.Rand) {
		e := *effectOf(h, pickRow(h, r, plainSuccess(h)).ID, 1)
		e.Began, e.Ended = e.Began+ms, e.Ended+ms
		h.Effects = append(h.Effects, e)
	}},
	{"a call of an epoch that was never claimed", RuleEffect, func(h *History, r *rand.Rand) {
		e := *effectOf(h, pickRow(h, r, plainSuccess(h)).ID, 1)
		e.Epoch, e.Began = 2, e.Began+ms
		h.Effects = append(h.Effects, e)
	}},
	{"a call as another attempt", RuleEffect, func(h *History, r *rand.Rand) {
		effectOf(h, pickRow(h, r, plainSuccess(h)).ID, 1).Attempt++
	}},
	{"a call with the payload of another task", RuleEffect, func(h *History, r *rand.Rand) {
		effectOf(h, pickRow(h, r, plainSuccess(h)).ID, 1).Tag = "another"
	}},
	{"a call before its claim", RuleEffect, func(h *History, r *rand.Rand) {
		pickRow(h, r, plainSuccess(h)).Started += 1000
	}},
	{"a loss that no fault explains", RuleAttempt, func(h *History, r *rand.Rand) {
		pick(r, h.End.Attempts, withOutcome("lost")).Worker = 1
	}},
	{"a loss long after the fault", RuleAttempt, func(h *History, _ *rand.Rand) {
		// Both claims come a second after their workers were back.
		h.Faults[0].Injected, h.Faults[0].Ended = 10*time.Second, 19990*ms-gap-time.Second
		h.Faults[1].Injected, h.Faults[1].Ended = 30*time.Second, 39950*ms-gap-time.Second
	}},
	{"a failure by the fence's answer, and the call was not stale", RuleAttempt, func(h *History, r *rand.Rand) {
		effectOf(h, pick(r, h.End.Attempts, failedFirst(h)).Task, 1).Status = 409
	}},
	{"a failure while another worker was cut off from the sink", RuleAttempt, func(h *History, r *rand.Rand) {
		a := pick(r, h.End.Attempts, failedFirst(h))
		e := effectOf(h, a.Task, 1)
		e.Status = 200
		other := fmt.Sprintf("worker%d", a.Worker%4+1)
		h.Faults = append(h.Faults, Fault{N: 9, Kind: "cut worker→sink", Injected: e.Began - time.Second, Ended: e.Ended + time.Second, Workers: []string{other}, Parts: []string{PartSink}, Late: true})
	}},
	{"a failure that the sink knows nothing of", RuleAttempt, func(h *History, r *rand.Rand) {
		a := pick(r, h.End.Attempts, withOutcome("failed"))
		effectOf(h, a.Task, a.Epoch).Status = 200
	}},
	{"a time-out before its time", RuleAttempt, func(h *History, r *rand.Rand) {
		a := pick(r, h.End.Attempts, withOutcome("timed_out"))
		submitOf(h, pickRow(h, r, func(x *Row) bool { return x.ID == a.Task })).Wants[0].Plan.Hold = 100 * ms
	}},
	{"an effect that came again for nothing", RuleDuplicate, func(h *History, r *rand.Rand) {
		a := pick(r, h.End.Attempts, failedFirst(h))
		effectOf(h, a.Task, 1).Status = 200
	}},
	{"one retry for two epochs", RuleDuplicate, func(h *History, r *rand.Rand) {
		asked := func(id int64) bool {
			return slices.ContainsFunc(h.End.Audit, func(x Audited) bool { return x.Task == id })
		}
		row := pickRow(h, r, func(x *Row) bool { return x.Epoch == 2 && x.State == "succeeded" && asked(x.ID) })
		effectOf(h, row.ID, 1).Status = 200
		for i := range h.End.Attempts {
			a := &h.End.Attempts[i]
			if a.Task == row.ID && a.Epoch == 1 {
				a.Outcome = "succeeded"
			}
		}
		a := *pick(r, h.End.Attempts, func(a *Attempt) bool { return a.Task == row.ID && a.Epoch == 2 })
		e := *effectOf(h, row.ID, 2)
		a.Epoch, a.ID, e.Epoch, e.Attempt, e.Call = 3, 9_999_999, 3, 9_999_999, 9_999_999
		a.Started, a.Finished, e.Began, e.Ended = a.Started+50, a.Finished+50, e.Began+50*ms, e.Ended+50*ms
		row.Epoch, row.Attempt, row.Started, row.Finished = 3, a.ID, a.Started, a.Finished
		h.End.Attempts, h.Effects = append(h.End.Attempts, a), append(h.Effects, e)
	}},
	{"late without a fault that delays", RuleLate, func(h *History, _ *rand.Rand) { h.Faults[0].Late = false }},
	{"late, and its worker was not touched", RuleLate, func(h *History, _ *rand.Rand) { h.Faults[0].Workers = []string{"worker2"} }},
	{"late by the clocks only", RuleLate, func(h *History, r *rand.Rand) {
		// Epoch 2 was claimed long before the first call began, which the sink cannot know.
		a := pick(r, h.End.Attempts, failedFirst(h))
		e := effectOf(h, a.Task, 1)
		for i := range h.End.Attempts {
			if b := &h.End.Attempts[i]; b.Task == a.Task && b.Epoch == 2 {
				b.Started = db(e.Began - 50*ms)
			}
		}
		row := pickRow(h, r, func(x *Row) bool { return x.ID == a.Task })
		if row.Epoch == 2 {
			row.Started = db(e.Began - 50*ms)
		}
	}},
	{"a call after its cancel was confirmed", RuleLate, func(h *History, r *rand.Rand) {
		row := pickRow(h, r, func(x *Row) bool { return x.State == "cancelled" && x.Epoch == 1 })
		o := pick(r, h.Ops, func(o *Op) bool { return o.Kind == OpCancel && o.Task == row.ID })
		o.Sent, o.LastSent, o.Answered = o.Sent-98*ms, o.Sent-98*ms, effectOf(h, row.ID, 1).Began-20*ms
	}},
	{"a stale call that the sink let happen", RuleFence, func(h *History, r *rand.Rand) {
		pick(r, h.Effects, func(e *Effect) bool { return e.Stale }).Status = 200
	}},
	{"a start before its time", RuleEarly, func(h *History, r *rand.Rand) {
		o := pick(r, h.Ops, func(o *Op) bool { return o.Kind == OpSubmit && len(o.Wants) == 1 && o.Wants[0].DelayMs == 1000 })
		o.Wants[0].DelayMs = 1500
	}},
	{"a start after it had expired", RuleEarly, func(h *History, r *rand.Rand) {
		row := pickRow(h, r, plainSuccess(h))
		row.Expires = row.Started - 50
	}},
	{"two holders of one unique key", RuleUnique, func(h *History, r *rand.Rand) {
		a := pickRow(h, r, func(x *Row) bool { return x.UniqueKey != "" })
		b := pickRow(h, r, func(x *Row) bool { return x.UniqueKey != "" && x.ID != a.ID })
		first, second := submitOf(h, a), submitOf(h, b)
		second.Sent, second.Answered = first.Sent+20*ms, first.Sent+30*ms
		b.Created, b.Finished = a.Created+20, a.Finished+20
	}},
	{"a refusal that names one who did not hold it", RuleUnique, func(h *History, r *rand.Rand) {
		o := pick(r, h.Ops, func(o *Op) bool { return o.Code == "unique_key_taken" })
		o.Sent, o.Answered = o.Sent+15*time.Second, o.Answered+15*time.Second
	}},
	{"a refusal that names somebody else", RuleUnique, func(h *History, r *rand.Rand) {
		pick(r, h.Ops, func(o *Op) bool { return o.Code == "unique_key_taken" }).Items[0].Holder = h.End.Tasks[0].ID
	}},
	{"a key that its final task still holds", RuleUnique, func(h *History, r *rand.Rand) {
		row := pickRow(h, r, func(x *Row) bool { return x.UniqueKey != "" })
		h.End.Uniques = append(h.End.Uniques, UniqueHeld{Task: row.ID, Scope: "until_finished"})
	}},
	{"a place that is held in the end", RuleLimit, func(h *History, _ *rand.Rand) { h.End.Limits[0].Running = 1 }},
	{"more at once than may be", RuleLimit, func(h *History, r *rand.Rand) {
		a := pickRow(h, r, func(x *Row) bool { return x.Queue == "limited" })
		b := pickRow(h, r, func(x *Row) bool { return x.Queue == "limited" && x.ID != a.ID })
		e := effectOf(h, b.ID, 1)
		e.Began = effectOf(h, a.ID, 1).Began
		e.Ended = e.Began + 5*ms
		b.Started, b.Finished = a.Started, a.Finished
	}},
	{"a limit that is not there", RuleLimit, func(h *History, _ *rand.Rand) { h.End.Limits = h.End.Limits[:1] }},
	{"no limits at all", RuleLimit, func(h *History, _ *rand.Rand) { h.End.Limits = nil }},
	{"more at once than a limit key allows", RuleLimit, func(h *History, r *rand.Rand) {
		a := pickRow(h, r, plainSuccess(h))
		b := pickRow(h, r, func(x *Row) bool { return x.ID != a.ID && plainSuccess(h)(x) })
		a.LimitKey, b.LimitKey = "shared", "shared"
		e := effectOf(h, b.ID, 1)
		e.Began = effectOf(h, a.ID, 1).Began
		e.Ended = e.Began + 5*ms
		b.Started, b.Finished = a.Started, a.Finished
	}},
	{"a success that is counted twice", RuleCounters, func(h *History, r *rand.Rand) { h.End.Stats[r.IntN(len(h.End.Stats))].Succeeded++ }},
	{"a submit that is not counted", RuleCounters, func(h *History, r *rand.Rand) { h.End.Stats[r.IntN(len(h.End.Stats))].Submitted-- }},
	{"a loss that is not counted", RuleCounters, func(h *History, r *rand.Rand) {
		pick(r, h.End.Stats, func(c *Counters) bool { return c.Lost > 0 }).Lost--
	}},
	{"a time-out that is counted twice", RuleCounters, func(h *History, r *rand.Rand) {
		pick(r, h.End.Stats, func(c *Counters) bool { return c.TimedOut > 0 }).TimedOut++
	}},
	{"a retry that is counted twice", RuleCounters, func(h *History, r *rand.Rand) {
		pick(r, h.End.Stats, func(c *Counters) bool { return c.Queue == "limited" }).Retried++
	}},
	{"tasks of a queue that has none", RuleCounters, func(h *History, _ *rand.Rand) {
		h.End.Stats = append(h.End.Stats, Counters{Queue: "nowhere", Submitted: 1})
	}},
	{"a slot with two rows", RuleSlot, func(h *History, r *rand.Rand) {
		h.End.Slots = append(h.End.Slots, h.End.Slots[r.IntN(len(h.End.Slots))])
	}},
	{"a slot that is missing", RuleSlot, func(h *History, r *rand.Rand) {
		s := h.End.Slots[r.IntN(len(h.End.Slots))]
		drop(&h.End.Slots, func(x *Slot) bool { return x.At == s.At })
		drop(&h.End.Tasks, func(x *Row) bool { return x.ID == s.Task })
		drop(&h.Effects, func(x *Effect) bool { return x.Task == s.Task })
	}},
	{"a slot with two tasks", RuleSlot, func(h *History, r *rand.Rand) {
		row := *pickRow(h, r, func(x *Row) bool { return x.Schedule != 0 && x.State == "succeeded" })
		row.ID, row.Attempt = 9_999_999, 9_999_999
		h.End.Tasks = append(h.End.Tasks, row)
	}},
	{"a slot that was skipped", RuleSlot, func(h *History, r *rand.Rand) { h.End.Slots[r.IntN(len(h.End.Slots))].Outcome = "skipped_misfire" }},
	{"a slot that is none of its schedule", RuleSlot, func(h *History, r *rand.Rand) { h.End.Slots[r.IntN(len(h.End.Slots))].At += 5 }},
	{"an end that nobody was told", RuleTold, func(h *History, r *rand.Rand) {
		row := *pickRow(h, r, func(x *Row) bool { return x.Tells != 0 })
		drop(&h.End.Tasks, func(x *Row) bool { return x.ID == row.ID })
	}},
	{"an end that was told otherwise", RuleTold, func(h *History, r *rand.Rand) {
		pick(r, h.End.Told, func(*Told) bool { return true }).State = "cancelled"
	}},
	{"news that never arrived", RuleTold, func(h *History, r *rand.Rand) {
		by := pick(r, h.End.Told, func(*Told) bool { return true }).By
		drop(&h.End.Told, func(x *Told) bool { return x.By == by })
	}},
	{"a due bell that is left", RuleLeft, func(h *History, _ *rand.Rand) { h.End.Left.Bells = []int64{5} }},
	{"a claim that is left", RuleLeft, func(h *History, _ *rand.Rand) { h.End.Left.Claims = []int64{5} }},
	{"a slot that is held for ever", RuleLeft, func(h *History, _ *rand.Rand) { h.End.Left.Held = 1 }},
	{"a clock that was never read", RuleWitness, func(h *History, _ *rand.Rand) { h.Clock.Database = nil }},
	{"a sink that does not know what is stale", RuleWitness, func(h *History, r *rand.Rand) {
		pick(r, h.Effects, func(e *Effect) bool { return e.Stale }).Stale = false
	}},
}

// Each thing that must not happen is found in every history that has a place for it, under its own name.
func TestPlantedViolationsAreFound(t *testing.T) {
	found := map[Rule]bool{}
	for _, p := range everything {
		found[p.rule] = true
		t.Run(p.name, func(t *testing.T) {
			for seed := range uint64(40) {
				h := legal(seed)
				p.plant(h, rand.New(rand.NewPCG(seed, 11)))
				r := Check(h)
				if !slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Rule == p.rule }) {
					t.Fatalf("seed %d: not found as %q; found: %s", seed, p.rule, r.Summary(3))
				}
			}
		})
	}
	for _, rule := range Rules() {
		if !found[rule] {
			t.Errorf("no violation of %q is planted", rule)
		}
	}
}
