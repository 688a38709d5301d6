// Package workertest runs the handlers of a worker in tests, without any server:
//
//	kit := workertest.New(t, newWorker())
//	task := kit.Run("greet", Greeting{Name: "Ada"})
//	task.AssertSucceeded()
//	task.AssertResult("Hello, Ada!")
//
// An attempt is decided by the code that decides it in production: payloads that do not decode, errors, panics, timeouts,
// cancels, sizes, the retry policy. Delays have no jitter.
//
// # Time
//
// Delays between attempts take no time: the kit's own clock, which handlers see in DueAt and in their logs, is moved on instead.
// Timeouts, graces and [CancelAfter] are real timers. In a bubble of testing/synctest these take no time either; [Sleep] then lets
// time.Now move on between attempts too.
//
// # With everything around it
//
// [Standalone] starts a whole installation with the worker in it, for tests that go through the API.
package workertest
