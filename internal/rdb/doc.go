// Package rdb is the only door to Redis. Redis is the live view: it holds what can be rebuilt or is only useful now, and
// all of it may be lost at any moment. So nothing here is ever waited for long: an operation takes at most half a second,
// and after one that failed everybody is told at once, for a second, that Redis is gone (see breaker).
//
// What happens when Redis is gone, use by use:
//
//   - live view (Enter, Leave, Running): nothing is shown; readers get an error and answer 503 live_view_unavailable. The
//     client remembers what its own workers run and shows it again within 5 s of Redis being back, even if it came back
//     empty.
//   - signals (Signal, Listen): a signal is a hint. What it says is in the database, and the worker reads it there at its
//     next beat, 3 s at most.
//   - looks (Look, Answer): whoever asks gets an error and answers 503 live_view_unavailable.
//   - witness (SawDatabase, DatabaseSeen): nobody is seen to reach the database, so a worker that cannot reach it either
//     takes the careful side and stops its tasks in time.
//   - events (Audience, Join, Append, Last, Read, Holds): writers drop and say so once Redis is back; listeners hear nothing
//     until then, and a reset first. Who begins to listen is answered 503 live_view_unavailable.
//   - tickets (PutTicket, TakeTicket): none is given or taken; 503 live_view_unavailable.
//   - nonces (Nonces): remembered by the process alone. A nonce can then be used once with each process instead of once.
package rdb
