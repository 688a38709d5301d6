// Package faults is the catalogue: every kind of fault, how one is drawn at random, and how it is done to a cluster.
//
// A Kind draws Injections (what, to whom, for how long) from a random source, so that a plan can be printed and replayed from
// its seed, and does them. Kinds come in three weights:
//
//   - heavy ones take a process, a server or a link away for a while;
//   - cheap ones let the database's driver or a failpoint fail some dozens of times, and many of them fit into one round;
//   - those that must be alone, because what they assert is true only when nothing else is hurt.
//
// What a fault can do to the run's history is said with it: which workers it stops, cuts off or delays, which part of the system
// it touches, whether it can make a worker act late. The checker explains duplicates and late effects by nothing else, so a
// fault must not claim more than it can do.
//
// # What "recovered" is counted from
//
// A killed process of ours is missed from the moment it dies, and its tasks must be done elsewhere; a server that is away cannot be
// done without, so the time counts from when it is back. A frozen worker is missed like a killed one. See Result.From.
package faults
