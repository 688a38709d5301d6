// Package asynqpeer is the adapter of asynq.
//
// Decisions. A worker is asynq's Server; on hold it is shut down, and a new one is made for the next turn, since a server
// cannot be started twice. The tuned setting has two servers in the process, each with its own loop that fetches tasks.
//
// What asynq has, and what it has not: no bulk enqueue; a cancel of running tasks (Inspector.CancelProcessing, over Redis'
// publish and subscribe, which nobody repeats when it gets lost); a total of processed and failed tasks per queue, which is
// the record that Await and Completed ask. It keeps no finished task (retention is zero by default).
//
// asynq keeps the time of a delayed task in whole seconds, cut off, and so starts it up to a second early: the report shows
// that as it is. A cancelled execution counts as failed as soon as its context ends, whatever its handler answers, and would be
// tried again: tasks that are to be cancelled are submitted without retries.
package asynqpeer
