// Package load runs clients of which every effect is known beforehand, and writes down what they asked, what they were answered and
// what came of it: the history that package history checks.
//
// A Load makes an app of its own, so that what it reads in the end is exactly what it has asked for. Its clients submit a seeded
// mix of everything that tasks can be, over several APIs, as careful clients do: every call is repeated under its Idempotency-Key,
// at the next API, until it is answered. Its sink is the world outside: the tasks of kinds http and callback call it with their tag, it does what
// the tag's plan says, and writes down when which epoch of which task called.
//
// Decisions.
//   - The mix is drawn from the seed and the number of the draw, not from a stream: which client comes first changes nothing.
//   - The rate is bounded by tasks, not by calls. Clients that wait for an answer hold the rate back: an outage is not followed by
//     a flood that no client would send.
//   - The sink knows the plans by tag, not from the body of the call, so that a body that arrives damaged is seen.
//   - The database is read directly, by statements of this package: the store's own reading is under test too.
//   - What is asked later (a cancel, a retry, a completion) stands in an agenda that the same clients work off, before new submits.
//     When a run ends the agenda is worked off to its end.
package load
