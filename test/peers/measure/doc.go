// Package measure drives one open system through every measure of the comparison, and says beside each figure what became of
// the tasks.
//
// Decisions. One round of one system runs in one process: Round is what that process does. Sizes are bounded by time where a
// system's speed is asked for, and by count where a number of tasks is part of the question (a drain of 50,000, 10,000 due in
// one instant). A rate of completed tasks begins with the first start, or with the first submit where both go on at once, and
// ends when the system itself has all of them on record; a system without a record is believed when its handlers have returned.
//
// Every task has a number, and the handler counts how often each was run: a submitted task that was not run is lost, a run
// beyond the first is a double. Nothing fails and nothing is retried on purpose, so that each is a fault. What did not start in
// the time that a measure waits is told apart from losses: the measure gives up, throws the rest away and says how many.
//
// Latencies are measured inside one process on one clock, from before the call that submits to the first line of the handler.
package measure
