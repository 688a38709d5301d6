// Package task is the centre of Taskweir: the words, the states and the pure rules that everything else shares.
// It imports the standard library only, and imports nothing of this module.
//
// # Stored states and arrows
//
//	            submit                    claim                  finish
//	(nothing) ─────────▶ waiting ────────────────▶ running ────────────────▶ succeeded | failed | cancelled
//	                      ▲  │ ▲   release, finish(retry) │
//	                      │  │ └──────────────────────────┘
//	              reopen  │  └── terminate ──▶ failed (expired) | cancelled
//	                      └───── from any final state
//
// Each arrow is one function of the store and names who may take it:
//
//	submit     (nothing) → waiting            API
//	claim      waiting   → running            worker
//	finish     running   → final | waiting    worker that holds the claim
//	release    running   → waiting | final    worker (drain, self-check, zombie), scheduler (worker is gone)
//	terminate  waiting   → final              API (cancel, replace), scheduler (expire)
//	reopen     final     → waiting            API (an explicit retry)
//
// Nothing automatic leaves a final state. "scheduled" and "queued" are how a waiting task is shown (due in the future or
// not); there is no promotion write.
//
// # Words
//
// An epoch counts claims and fences: an effect that carries a lower epoch than the newest is stale. Failures count against
// the retry policy, losses count dead workers. A bell is a batch of waiting tasks that is announced together, a claim is a
// batch of running tasks of one worker, a lane is queue × priority and has one NSQ topic.
//
// All instants are milliseconds since 1970 UTC by the database's clock, all durations milliseconds, unless a name says
// otherwise.
package task
