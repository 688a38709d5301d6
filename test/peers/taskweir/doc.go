// Package taskweir is the adapter of Taskweir: api, scheduler and worker in one process, as "taskweir standalone" runs them, on
// MariaDB, nsqd and Redis, or on embedded parts.
//
// Decisions. Tasks are submitted past HTTP, through the use case that HTTP calls, since the peers are libraries that are called
// in process; what HTTP adds is measured by API. A cancel is a request over HTTP, as a user makes it. Completed tasks are counted
// in the database by the range of their ids, in which there are no others: the platform's own schedules are paused. Reset makes
// a new, empty installation.
//
// Tasks of a kind have a queue of their own, as docs/operations.md advises: how many tasks one announcement may hold follows
// from how long the tasks of a queue run.
package taskweir
