// Package worker is how tasks are executed by Go code of yours: a program that registers typed handlers is a worker, with the
// same engine as cmd/worker.
//
//	func main() {
//		w := worker.New()
//		worker.Handle(w, "greet", func(ctx context.Context, t worker.Task[Greeting]) error {
//			t.Logger().Info("greeting", "name", t.Payload.Name)
//			return nil
//		})
//		os.Exit(w.Main())
//	}
//
// The program, once built, is a worker of an installation (./greeter, configured as cmd/worker is) and an installation of its
// own for development (./greeter standalone: API, scheduler and this worker in one process, with nothing installed).
// docs/go-workers.md walks through it; package workertest runs handlers in tests without any server.
//
// # What a handler says
//
//	return nil                        succeeded; the result is what SetResult or HandleResult gave
//	return err                        failed; tried again by the task's retry policy
//	return worker.Permanent(err)      failed for good
//	return worker.RetryAfter(d, err)  failed; tried again no sooner than after d
//	return worker.Snooze(d)           not now: run again after d, which counts as no failure
//	panic                             failed; the stack is in the attempt's log
//
// [Code] gives a failure a code of its own, which clients see beside the message. A payload that does not decode into the
// handler's type fails for good, with code invalid_payload and the reason: it would not decode the next time either.
//
// # Contexts
//
// Each attempt has a context of its own. It ends for one of four reasons, which context.Cause tells apart: [ErrTimedOut],
// [ErrCancelled], [ErrDraining], [ErrLost]. What a handler returns after that counts only if it is a success. A handler that
// goes on regardless is a zombie after a grace of 2 s: shown with the task, counted, its slot kept; after five minutes its
// attempt is closed without it, so that the task can go on.
//
// # At least once
//
// A task may be executed more than once: a worker can die after the effect and before its result is stored. Each execution of
// a task has a higher epoch than the one before. A handler that writes somewhere sends it along ([Attempt.Epoch],
// [Attempt.Fence]), so that the receiver can refuse what is older than what it has seen: nobody else can.
//
// # Decisions
//
//   - A worker runs its own kinds only, unless [BuiltIns] is given: a program that was written to send mail does not call URLs
//     or run commands for other tasks by accident. The stock workers go on running those.
//   - Handlers are not bound to queues, nor are they given limits here: a worker serves the queues it is told to serve, and limits
//     belong to queues, apps and limit keys, where they hold over all workers. [MaxRun] bounds one kind's time.
//   - Payloads are decoded leniently, so that a producer may be newer than its worker; [Strict] refuses unknown fields.
//   - The log of an attempt costs nothing unless it is written; a success with a log has a row of its own in the database.
package worker
