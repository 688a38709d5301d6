// Package system is the one interface behind which the peers benchmark drives every task queue alike.
//
// Decisions. A round of a system runs in a process of its own, started for it: no queue pays for another's garbage, and
// processor time and memory can be told apart. Servers are started once, by the process that leads, and stay up over all
// rounds. So an Adapter has two halves: Serve is called by the leader, Open by the process of a round, and what passes
// between them is a map of addresses.
//
// Producer and worker are one process, for every system alike. What a task does is the benchmark's business, not the
// adapter's: the adapter carries a payload of 200 bytes of JSON through its system and calls Handler.Handle with it. Numbers
// inside the payload tell lost and doubled tasks, whatever the system calls its tasks.
//
// A time is this machine's wall clock. Servers run on the same machine, so their clocks are the same one. Due times are whole
// milliseconds, and tasks of one instant are due at a whole second: a system that keeps seconds is not called late for it.
package system
