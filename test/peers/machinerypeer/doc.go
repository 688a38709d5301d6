// Package machinerypeer is the adapter of machinery v2 on Redis, by its broker for go-redis.
//
// Decisions. The result backend is machinery's null backend: it writes nothing, and so is the fastest. There is no record of
// what has ended, then, and tasks count as ended when their handler has returned. A task that runs is known to no one but its
// worker: machinery takes it off its list when it starts, so that a crash loses it, whatever Redis keeps. It has neither a
// cancel nor a bulk submit (a group is sent task by task).
//
// A worker's broker closes its connections when it stops, so that each turn of work has a server of its own beside the one that
// submits. Stopping takes a second or two, as long as the worker waits for its list to fill. machinery starts a timer for
// periodic tasks with each server that nothing ends.
//
// Delayed tasks are moved one by one, each after a pause of DelayedTasksPollPeriod.
package machinerypeer
