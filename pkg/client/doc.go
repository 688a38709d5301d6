// Package client is the Go client of Taskweir's native API, /v1. It imports the standard library and package apiv1 only.
//
//	c, err := client.New("http://127.0.0.1:8080", os.Getenv("TASKWEIR_API_KEY"))
//	...
//	defer c.Close()
//	t, err := c.Submit(ctx, "report.monthly", map[string]any{"month": "2030-01"}, client.Queue("reports"))
//	...
//	url, err := client.WaitResult[string](ctx, c, t.ID)
//
// A Client is safe for use by many goroutines and meant to be made once: it keeps a pool of connections. What is done with
// tasks are its methods; the rest is grouped as the API is: Schedules, Queues, LimitKeys, Kinds, Workers, Apps, Bulk.
//
// # Once, though networks fail
//
// A request whose connection breaks may have been carried out. The client makes an Idempotency-Key for each submit and keeps it
// over its repeats, so that a submit makes one task however often it is sent. It repeats what answers 429, 502, 503 or 504 and what
// gets no answer, with exponentially growing pauses, jitter, and the server's Retry-After; see RetryPolicy. Requests that neither
// carry such a key nor do the same a second time are repeated only when the server cannot have begun them. Other answers are
// never repeated. The end of the context ends everything at once.
//
// # Waiting
//
// Wait, FollowLog, Bulk.Wait and event streams go on over restarts of the server and lost connections. They give up when
// they have had no answer for so long as WithPatience says.
//
// # Errors
//
// An answer that is no success is an *Error and holds the server's problem; helpers such as IsNotFound, IsConflict and Fields
// read it through wrapping. A request without an answer is a *NoAnswerError, which says if it may have been carried out.
//
// # The key
//
// The API key goes to the address that New was given and nowhere else: a redirect to another host is refused. It is in no
// error and in no text that a Client or its errors print.
package client
