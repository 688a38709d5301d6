// Package sqldb keeps everything that Taskweir promises, in MySQL, MariaDB or SQLite. It implements the Store ports of
// packages control, worker and scheduler, and is the only importer of gorm and the database drivers.
//
// # Two databases, one set of functions
//
// The protocol's statements are written out, with numbers in their text, because they are grouped, guarded and counted;
// what differs between the dialects (locking clauses, index hints, INSERT IGNORE, upserts) is chosen by small functions
// where it occurs. Plain rows that people edit (apps, keys) go through gorm, on the same connections and transactions.
//
// On MySQL every statement that locks or writes by primary key is forced to be a range access, since the optimizer turns
// long lists on small tables into scans, which lock what they pass. Transactions are READ COMMITTED, lock in one order
// (idempotency, unique keys, bells, limits, tasks, claims, stats) and are repeated whole on deadlocks and lock timeouts.
// Statements whose counts nobody needs travel with the next one or with COMMIT (mysqlTx): round trips cost more than rows.
// Ids come from a pool of connections of their own, so that a busy main pool cannot block itself.
//
// On SQLite one goroutine owns the one write connection. Transactions are closures on its queue; a turn commits all that
// wait together, each failing alone, so that submits, claims and finishes of one moment share one fsync. Readers have
// connections that cannot write.
//
// # Schedules
//
// A slot's row is the trigger: it is inserted by the transaction that creates its task and moves the schedule on (Fire), under
// the lock of the schedule's row and compared with what the caller had read. So of any number of schedulers one wins, and a
// crash leaves all of it or nothing. The task is written by the statements of Submit.
//
// Rows of schedules come first in the order of locks, by id: only transactions that begin with them touch them (Fire,
// ReleaseSlot, changes, Settle), and nobody who holds anything else ever waits for one. Idempotency alone comes before them,
// when a schedule is created. Behind them: slots, held slots, tasks that are cancelled, then everything in Submit's order. Whoever
// ends a task updates its row in schedule_runs, after tasks and before keys, and never locks the schedule: the scheduler
// counts ended runs later (Settle). What runs and what waits is read without locks, because only holders of the schedule's
// row add to it; a run that ends at the same moment ended afterwards. cancel_previous releases unique keys before it takes
// them, as Finish does after tasks; should that meet a Submit that replaces the same task, one of them is repeated.
//
// # What a caller can rely on
//
// Every exported function is one transaction or a plain read. A database that cannot be reached is *task.Error of kind
// Unavailable, and nothing was changed. A connection that dies at COMMIT leaves the outcome open: it is looked up by the
// ids that were taken before, and only what stays open wraps task.ErrOutcomeUnknown. Times are the database's, by Clock.
//
// # Lists and depths
//
// No page and no figure counts the rows of a big table. Lists walk the narrowest index there is (bells for queued and
// scheduled, claims for running, ends for failed and cancelled, labels, else an app's tasks), read at most 5,000 entries
// and say where to go on. A list by creation time finds its ends by halving over the ids.
//
// Two things were learnt beside a million waiting tasks. A plan that is right at every size of a table can still be left while the
// server's figures about it are old, as they are for the seconds after a backlog came: what everything depends on must be a dive by its
// form (ORDER BY … LIMIT 1 behind constants), or be asked for its plan first (loose.go). And MIN(column) is such a dive only
// where every other column is a constant; in a subquery that depends on a row it reads all that it is the least of.
// TestReadsDoNotGrow counts what every list and look reads, with old and with new figures.
package sqldb
