// Package events carries what happens to tasks to those who listen to it, within ten minutes and within bounds.
//
// It is a view, not a record: no event has a row, and the history of one task is read from the task itself (package control).
// Three rules keep it from costing those who do not use it:
//
//   - Nobody pays for what nobody reads. A key in Redis, which listeners keep alive, says that somebody listens or did within the
//     last ten minutes. Writers look at it once a second; while it is not there, a commit costs one look at a flag.
//   - Nobody waits. A writer encodes a change into a buffer, a dozen bytes, and a goroutine of its own appends what gathered to
//     a stream in Redis, twenty times a second at most. Its buffer is bounded: what does not fit is dropped, and said so.
//   - One reader a process. A hub reads the stream once for all its listeners. Listeners with equal filters share a topic, an
//     event is encoded once, and what a topic sends is one piece of bytes for all of its listeners, who come and take it. Who is slow finds that
//     it is not there any more.
//
// Wherever events may be missing, there is a reset in their place: "read anew what you need". The key's value names the
// stream's generation and is part of every id, so that a stream that was emptied, or not written for a while, cannot be taken
// for its continuation. Writers number their entries, give a sign of life every two seconds and a last word at their end: a gap is a
// reset, and so is a writer who falls silent, for a process that is killed takes the events of its last 50 ms with it. Whoever was not
// connected then finds it in the past that is read to it. What no reset tells is left to chance twice: the killed writer had told
// nothing since what the client saw last, and nobody listened in the six seconds after; or it was killed before its first sign of life.
package events
