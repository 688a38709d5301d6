package history

import (
	"fmt"
	"time"
)

func (w *world) plainly(at time.Duration) {
	m := w.submit(at, Want{RetryMax: 3, Completion: w.r.IntN(2) == 0})
	m.claim(at+10*ms, w.worker())
	m.succeed(at + 12*ms)
	m.saw(at + 100*ms)
	m.saw(at + 200*ms)
	m.put()
}

func (w *world) failing(at time.Duration) {
	m := w.submit(at, Want{RetryMax: 3, Plan: Plan{Fail: 2}})
	for i := range 2 {
		from := at + time.Duration(i)*300*ms
		m.claim(from+10*ms, w.worker())
		m.call(from+12*ms, from+14*ms, 500)
		m.end(from+15*ms, "failed", 500)
		m.retried()
	}
	m.claim(at+700*ms, w.worker())
	m.succeed(at + 702*ms)
	m.put()
}

func (w *world) exhausted(at time.Duration) {
	m := w.submit(at, Want{RetryMax: 1, Plan: Plan{Fail: -1}, Completion: true})
	for i := range 2 {
		from := at + time.Duration(i)*300*ms
		m.claim(from+10*ms, w.worker())
		m.call(from+12*ms, from+14*ms, 500)
		m.end(from+15*ms, "failed", 500)
		if i == 0 {
			m.retried()
		}
	}
	m.become(at+315*ms, "failed", "exhausted")
	m.saw(at + 400*ms)
	m.put()
}

func (w *world) denied(at time.Duration) {
	m := w.submit(at, Want{RetryMax: 3, Plan: Plan{Fail: -1, Deny: true}})
	m.claim(at+10*ms, w.worker())
	m.call(at+12*ms, at+14*ms, 400)
	m.end(at+15*ms, "failed", 400)
	m.become(at+15*ms, "failed", "permanent")
	m.put()
}

func (w *world) timingOut(at time.Duration) {
	m := w.submit(at, Want{RetryMax: 1, TimeoutMs: 500, Plan: Plan{Hold: 5 * time.Second, Slow: 1}})
	m.claim(at+10*ms, w.worker())
	m.call(at+12*ms, at+513*ms, 0)
	m.end(at+512*ms, "timed_out", 0)
	m.retried()
	m.claim(at+800*ms, w.worker())
	m.succeed(at + 802*ms)
	m.put()
}

func (w *world) cancelledWaiting(at time.Duration) {
	m := w.submit(at, Want{RetryMax: 3, DelayMs: 3000})
	m.become(at+500*ms, "cancelled", "by_user")
	m.did(OpCancel, at+498*ms, 200, Item{Task: m.row.ID, State: "cancelled"})
	m.put()
}

func (w *world) cancelledRunning(at time.Duration) {
	m := w.submit(at, Want{RetryMax: 3, Plan: Plan{Hold: 25 * time.Second, Slow: 1}})
	m.claim(at+10*ms, w.worker())
	m.call(at+12*ms, at+105*ms, 0)
	m.end(at+104*ms, "cancelled", 0)
	m.become(at+104*ms, "cancelled", "by_user")
	o := m.did(OpCancel, at+100*ms, 200, Item{Task: m.row.ID, State: "cancelled", Epoch: 1})
	o.Answered = at + 120*ms
	m.saw(at + 300*ms)
	m.put()
}

func (w *world) reopened(at time.Duration) {
	m := w.submit(at, Want{RetryMax: 0, Plan: Plan{Fail: 1}, Completion: true})
	m.claim(at+10*ms, w.worker())
	m.call(at+12*ms, at+14*ms, 500)
	m.end(at+15*ms, "failed", 500)
	m.become(at+15*ms, "failed", "exhausted")
	m.saw(at + 100*ms)
	o := m.did(OpRetry, at+200*ms, 200, Item{Task: m.row.ID, State: "queued", Epoch: 1})
	o.From = "failed"
	m.row.Failures, m.row.Reason = 0, ""
	w.h.End.Audit = append(w.h.End.Audit, Audited{Task: m.row.ID, Retries: 1})
	m.claim(at+210*ms, w.worker())
	m.succeed(at + 212*ms)
	m.saw(at + 300*ms)
	m.put()
}

func (w *world) takenOver(at time.Duration) {
	m := w.submit(at, Want{RetryMax: 3, Plan: Plan{Async: true}})
	m.claim(at+10*ms, w.worker())
	m.call(at+12*ms, at+14*ms, 202)
	o := m.did(OpComplete, at+100*ms, 200, Item{Task: m.row.ID, State: "succeeded", Epoch: 1})
	o.Epoch = 1
	m.end(at+102*ms, "succeeded", 202)
	m.row.HasResult, m.row.ResultEpoch, m.row.ResultCall = true, 1, w.calls
	m.become(at+102*ms, "succeeded", "")
	m.put()
}

func (w *world) expired(at time.Duration) {
	m := w.submit(at, Want{RetryMax: 3, ExpiresInMs: 500})
	m.row.Expires = m.row.Created + 500
	m.become(at+510*ms, "failed", "expired")
	m.put()
}

// keyed takes the one unique key when it is free, and is refused when it is not.
func (w *world) keyed(at time.Duration) {
	from := max(w.keyFree+time.Second, 140*time.Second)
	u := &Unique{Key: "the key", Scope: "until_finished", OnConflict: "reject"}
	m := w.submit(from, Want{RetryMax: 3, Unique: u})
	m.claim(from+10*ms, w.worker())
	m.succeed(from + 200*ms)
	m.put()
	w.keyFree = from + 206*ms
	w.serial++
	w.h.Ops = append(w.h.Ops, Op{N: w.serial, Kind: OpSubmit, Key: fmt.Sprintf("refused%d", w.serial), Tries: 1, Sent: from + 50*ms, LastSent: from + 50*ms, Answered: from + 55*ms,
		Status: 409, Code: "unique_key_taken", Wants: []Want{{Tag: fmt.Sprintf("%d.0", w.serial), Kind: "http", Queue: "plain0", Priority: "normal", Unique: u}},
		Items: []Item{{Status: 409, Code: "unique_key_taken", Holder: m.row.ID}}})
}

// unknown is a submit that was never answered: one that happened, and one that did not. The APIs were cut off.
func (w *world) unknown(time.Duration) {
	at := 60*time.Second + w.some(900*ms)
	for i := range 2 {
		m := w.submit(at, Want{RetryMax: 3})
		o := &w.h.Ops[m.op]
		o.Status, o.Items, o.Maybe = 0, nil, 1
		o.Failed = []Try{{Sent: at, Over: at + 100*ms, Err: "no answer"}}
		if i == 1 {
			w.count(m.row.Queue).Submitted--
			continue
		}
		m.claim(at+10*ms, w.worker())
		m.succeed(at + 12*ms)
		m.put()
	}
}

// limited runs in a queue in which one may run at a time.
func (w *world) limited(time.Duration) {
	at := max(w.free, 10*time.Second)
	m := w.submit(at, Want{RetryMax: 3, Queue: "limited"})
	m.claim(at+10*ms, w.worker())
	m.succeed(at + 12*ms)
	m.put()
	w.free = at + 30*ms
}

func (w *world) replayed(at time.Duration) {
	m := w.submit(at, Want{RetryMax: 3})
	m.claim(at+10*ms, w.worker())
	m.succeed(at + 12*ms)
	m.put()
	first := w.h.Ops[m.op]
	w.serial++
	again := Op{N: w.serial, Kind: OpReplay, Key: first.Key, Tries: 1, Sent: at + time.Second, LastSent: at + time.Second, Answered: at + 1003*ms, Status: 201, Wants: first.Wants,
		Items: []Item{{Task: m.row.ID, State: "succeeded", Epoch: 1, Replayed: true}}}
	w.h.Ops = append(w.h.Ops, again)
	w.serial++
	w.h.Ops = append(w.h.Ops, Op{N: w.serial, Kind: OpMisuse, Key: first.Key, Tries: 1, Sent: at + 2*time.Second, LastSent: at + 2*time.Second, Answered: at + 2003*ms, Status: 409,
		Code: "idempotency_key_reused", Wants: first.Wants, Items: []Item{{Status: 409, Code: "idempotency_key_reused", Holder: m.row.ID}}})
}

func (w *world) delayed(at time.Duration) {
	m := w.submit(at, Want{RetryMax: 3, DelayMs: 1000})
	m.claim(at+1005*ms, w.worker())
	m.succeed(at + 1007*ms)
	m.put()
}

// stoppedWorker claims a task, is stopped before it calls the sink, and calls it when it goes on: late.
func (w *world) stoppedWorker() {
	m := w.submit(19900*ms, Want{RetryMax: 3})
	m.claim(19990*ms, 4)
	old := m.row.Attempt
	m.end(29*time.Second, "lost", 0)
	m.claim(29010*ms, 1)
	m.succeed(29012 * ms)
	late := m.callOf(1, old, 30001*ms, 30002*ms, 409)
	late.Stale = true
	m.put()
}

// killedWorker dies while the sink holds its call; the task runs again elsewhere.
func (w *world) killedWorker() {
	m := w.submit(39900*ms, Want{RetryMax: 3})
	m.claim(39950*ms, 3)
	m.call(39952*ms, 40001*ms, 0)
	m.end(53*time.Second, "lost", 0)
	m.claim(53010*ms, 2)
	m.succeed(53012 * ms)
	m.put()
}

// cutAPI lets a retry be answered at its second try only: it may have been carried out twice, and was once.
func (w *world) cutAPI() {
	m := w.submit(59*time.Second, Want{RetryMax: 0, Plan: Plan{Fail: 1}})
	m.claim(59010*ms, 1)
	m.call(59012*ms, 59014*ms, 500)
	m.end(59015*ms, "failed", 500)
	m.become(59015*ms, "failed", "exhausted")
	o := m.did(OpRetry, 60500*ms, 409)
	o.Tries, o.Maybe, o.Code, o.LastSent, o.Answered = 2, 1, "not_retryable", 61500*ms, 61503*ms
	o.Failed = []Try{{Sent: 60500 * ms, Over: 60900 * ms, Err: "no answer"}}
	m.row.Failures, m.row.Reason = 0, ""
	w.h.End.Audit = append(w.h.End.Audit, Audited{Task: m.row.ID, Retries: 1})
	m.claim(60510*ms, 1)
	m.succeed(60512 * ms)
	m.put()
}

// schedule fires five slots; one more was made ahead and taken back.
func (w *world) schedule() {
	from := db(100 * time.Second)
	w.h.End.Schedules = []Schedule{{ID: 9, EveryMs: 1000, Anchor: 0, From: from, To: from + 4000}}
	for i := range 6 {
		w.id++
		slot := from + int64(i)*1000
		at := 100*time.Second + time.Duration(i)*time.Second
		m := &made{w: w, row: Row{ID: w.id, Kind: "http", Queue: "plain0", Priority: "normal", Created: slot - 1500, Due: slot, RetryMax: 3, Schedule: 9, Slot: slot, State: "waiting"}}
		w.count("plain0").Submitted++
		if i == 5 {
			m.become(at-1500*ms, "cancelled", "by_schedule")
			m.put()
			continue
		}
		w.h.End.Slots = append(w.h.End.Slots, Slot{Schedule: 9, At: slot, Last: slot, N: 1, Task: w.id, Outcome: "fired"})
		m.claim(at+5*ms, w.worker())
		m.succeed(at + 7*ms)
		m.put()
	}
}
