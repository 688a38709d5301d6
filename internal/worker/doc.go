// Package worker is the engine that turns rung bells into committed results. It knows the database, the broker and Redis
// only through the ports in ports.go.
//
// # How a task passes through
//
//	Source ─deliver─▶ lane queue ─dispatcher─▶ Store.Claim ─▶ slots ─▶ Runner.Run ─▶ results ─flusher─▶ Store.Finish ─▶ Ringer
//
// One dispatcher goroutine gives free slots to lanes, a few claims run at a time, each task has a goroutine and a context of
// its own, and one flusher commits what ended. The three stages overlap: a slot is free when its handler returns, not when its
// result is committed; at most Options.MaxResults results wait for the database, then no more is claimed.
//
// # Decisions
//
//   - Slots are shared between lanes by stride scheduling (each lane pays slots ÷ weight, the one that paid least is next),
//     which is smooth weighted round robin that also holds when one claim takes many slots at once.
//   - A claim is two commits: its own and that of what it ran. Each costs the database nearly the same for ten tasks as for
//     a hundred, so claims of a backlog wait for a moment until all slots but 1/8 are free. With 256 slots and tasks that do nothing,
//     batches of 120 became 240, the processor time of a task fell by 40 % and the rate rose by half. What the slots cannot
//     take of a bell stays in it; waiting until bells fit whole left slots empty and cost more than the write of the rest.
//   - With 1,024 slots instead of 256 the batches of no-op tasks are larger still: 1.4 times the rate at 0.75 of the processor time. The
//     default stays, because real tasks wait for something and each running one costs memory and a connection.
//   - After a commit of 32 ends or more the flusher rests for 8 ms, or until a transaction's worth of them waits (flush.go): a callback
//     costs the database a tenth less that way. Ends that make room in a limit are not kept waiting: a limited queue of
//     short tasks would stand still for most of the time.
//   - A claim's runs do not all begin at once while processors are short (pool.go): 32 for each processor are fresh at a time, the others
//     begin when one returns. All at once, some hundred requests were written before the first answer was read, each on a stack and a
//     connection that had gone cold meanwhile. Switching between both every half second in one run, a callback took 55 to 61 µs of the
//     worker's process and the receiver's all at once, 45 to 54 in turn; 32, 64 or 128 on two processors made little difference.
//     Whether processors are short is told by the runtime's scheduling latencies (crowd.go), and only while runs begin in turn: many that
//     begin at once wait for each other. A pool that held them back whenever it saw that made handlers that wait for 2 ms 60 % slower,
//     those of 10 ms a quarter (BenchmarkWaiting, five pairs); as it is those of 2 ms lose nothing, of 10 ms 5 %, of 50 ms 2 %.
//   - A callback took 107 µs of processors with net/http's transport, which has two goroutines for each connection and hands everything
//     on between them, and with payloads read by encoding/json; about 80 without, 19 of them the receiver's (net/http), 17 the call's, 20
//     the database's (an answer of ten bytes costs 4 of them over a no-op task), 4 of the request and its run. Bells of 64 instead of 16
//     (with 1,024 slots) saved 7 %; claims of 125 or 250 instead of 500 and a larger GOGC changed less than the machine's noise;
//     2,048 slots cost a fifth more, with twice the connections; 256 make three quarters as many since runs begin in turn.
//   - Deadlines, grace, zombies and the 200 ms of the live view are found by one goroutine that scans the slots when the
//     earliest of these instants has come. A task that ends quickly pays nothing for them: no timer, no heap.
//   - Contexts have no common parent: attaching and detaching a child of a shared context costs a lock and a map write.
//     Ending everything is a walk over the slots instead.
//   - Goroutines that run handlers are kept and reused, because handlers that make HTTP calls grow their stacks; half of the
//     idle ones are let go at each beat.
//   - A run, its context and its ending are parts of one allocation per claim.
//
// # What is promised
//
// At most one result is committed per epoch (the store guards by epoch and worker), and a task that was claimed is ended,
// released, or left in a claim row that a scheduler rescues. When the worker is fenced, what its handlers still report is
// sent as success only, and only as far as the guards let it; everything else is dropped with a log line.
package worker
