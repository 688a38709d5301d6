// Package scheduler owns lanes: it rings their due bells, fairly, on time and within limits, and does the chores of the
// database. Any number of schedulers run at once. The work is cut into 16 shards, held by leases and shared evenly; two
// owners of a shard for a moment are harmless, because everything here is either idempotent or guarded by the store.
//
// # Who does what
//
// One goroutine, the bell loop (loop.go), owns everything that is known of lanes, so that none of it needs a lock. It
// looks which (lane, app) pairs have due bells, reads them ahead, and rings them in deficit round robin (drr.go) while the
// lane's window (window.go) has room. What it rang it remembers until the row is gone (claimed), and rings again what stays
// (rering.go). It never publishes itself: the press (press.go) reads payloads and publishes, so that a broker that is gone
// blocks nothing.
//
// The look-ahead (lookahead.go) loads bells due within 2 s into a heap, and a precise timer (instants.go) sends them to the
// press at their instant, never before the database's time plus its measured error. The rest of what is due then goes to
// the bell loop.
//
// Beside them run the leases (leases.go), the view of lanes, apps and workers with the death watch (view.go, death.go),
// rescue (rescue.go), expiry (expire.go), and the chores that one scheduler at a time does: the audit and the end of keys
// (chores.go, audit.go). Schedules are fired by a goroutine of their own (schedule_*.go, below). Purge and statistics are not
// done here: they are schedules of the system app, which workers run (internal/runner/system).
//
// # Decisions
//
// The promise of admission is that a task of app B starts before more than W (+ credit) further tasks of app A of the same
// lane do, A's backlog however deep. It holds because the owner looks for new pairs before each refill, a pair that is new
// is served next, and never more than W tasks are rung and unclaimed.
//
// A window is filled by what can be claimed only (aside.go). Bells of which no live worker of the queue runs anything are
// parked: not published, and admitted again when other workers come. Bells that stay although slots are free are stuck: they
// count for their app alone, which rings at most a window of them. Commands, which have few slots of their own, have bells and
// a window of their own. An app that is paused leaves the window, and is read from the start when it goes on.
//
// An idle system is asked for the earliest due time of each shard, which costs the same with one app and with thousands; the
// pairs are listed only when something is due, and the more rarely the more that costs.
//
// A writer rings what it wrote itself while it has credit. Whether it did cannot be seen in the row, so the owner leaves a
// direct bell alone for a while (grace in direct.go): for 1 s as a rule, but not at all when the writers have no credit or
// there are more of such bells than credit allows, and only shortly when nothing stands in its way to a worker.
//
// How many tasks a bell may hold follows from the run time divided by a worker's slots (tune.go), that is from how long a bell keeps
// one worker busy. The run time alone was misleading: of calls to one endpoint it grows with the number that is made at once, so that
// workers with many slots were rung for each task alone. The middle class grows with the slots as well: with 1,024 of them callbacks by 64
// instead of 16 cost 7 % less of the processors and an eighth more were made. What did not pay: looking at a backlog that is rung
// all the time by the rate of its claims instead of each few ms, which is a third of the reads of bells.
//
// When a worker is gone, some of what is rung in its lanes may lie with it: nsqd sends messages to a connection that is open
// but dead, and gives them to others after 10 s only. Its lanes are in haste for a while (haste.go): what stays is rung again
// soon and a few times at an even interval, bounded for each bell. This is the second net. The first is that a worker asks
// nsqd to let go of it before it can be declared dead, so that what is rung for its tasks goes to the living at once.
//
// A failed publish is an entry of the window that is rung again soon, and holds its lane back until a publish succeeds.
//
// A database that is gone makes every loop wait a little longer each time, up to a second, and go on where it was.
//
// # Limits
//
// Limits are held by the claim, which locks their rows (sqldb/limits.go); here it is decided what is rung, so that what may not start
// neither spins nor fills a window (limits.go). The rate of an app or a key is in its row too, not in an owner's memory and Redis: it is exact
// over any number of owners, and nothing changes when Redis is lost. Bells of limit keys are found by key (flows.go), so that a key that
// waits is in nobody's way.
//
// # Schedules
//
// The insert of a slot is the trigger, so who fires needs no care to be the only one: a slot that two schedulers fire has one row
// and one task, and a slot that nobody fired is still there to be fired, its schedule's next slot not having moved on. What is
// left is to be punctual, and to let nobody wait for others.
//
// Punctual (schedule_loop.go). One read a second lists the schedules with a slot within two seconds, by an index on the next
// slot: those that sleep are not even looked at. Schedules that allow overlaps get their slots written at once, with tasks
// that are due at the instant; a scheduler that dies then has done its work already. The others are decided at the instant, by
// a timer. The tasks are rung by the process that wrote them, not by whoever owns their lanes.
//
// The owner of a schedule's shard fires it. What nobody fired for two seconds is fired by any scheduler: that is the takeover,
// and it needs neither a lease nor a census of the living. Look-ahead tasks of a killed scheduler, which it cannot ring any more,
// are rung by the next owner of their lane, at most 3.6 s after its last sign of life.
//
// Nobody waits (schedule_fire.go, schedule_aside.go). Slots of many schedules of many apps share a transaction. One that is
// refused is halved until the schedule at fault is alone, and that one is set aside. Those that catch up on a downtime take
// turns of a hundred slots, and give way to punctual ones. Definitions are read once for each version, and kept in bounded
// memory (schedule_defs.go).
//
// Ends of runs (schedule_settle.go) are marks in the database, looked for once a second: a run's end is counted, and a schedule
// that failed too often paused, within a second. While slots wait for a run they are looked for 20 times a second, so that the
// next one starts within 100 ms.
//
// After a jump of the clock there is nothing to repair: slots are instants of the database's clock, each has one row, and what a
// jump passed over was missed, as by a downtime.
package scheduler
