// Package riverpeer is the adapter of River on PostgreSQL, by its own driver for pgx.
//
// Decisions. One client works, and on hold is stopped and started again; another one only inserts, on connections of its own, so
// that hundreds of submitters do not keep the worker waiting for a connection. A bulk
// is InsertManyFast, River's fastest way (COPY). River stores the arguments of a job as jsonb, which does not keep the bytes, so
// that they travel as a struct, as River means them to, and the payload is put together again in the worker.
//
// The record of what has ended is the table of jobs, which River writes in batches some time after a handler returned. Await
// listens to River's own events, which follow that write, and asks the table only when enough of them have come, or when none
// comes for a while, since River drops events for slow listeners.
//
// The schema is made by River's own migrations. Reset truncates the table of jobs; so does Open, since a round begins with an empty system.
package riverpeer
