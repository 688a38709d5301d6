// Package bell rings bells from where they are written. Whoever commits a bell (the submit path, a worker that writes a
// retry) hands it to the Ringer right after the commit, so that an idle system starts a task one publish after its commit
// and not one look of the scheduler later.
//
// # What a writer rings, and what it leaves to the lane's owner
//
//   - A bell that is due now is rung while its (lane, app) has credit: tasks per window of 200 ms, from the lane's row.
//     Beyond it the bell is left to the lane's owner, which shares the lane fairly; the owner is woken. Paused, limited and
//     contended lanes have credit 0.
//   - A bell marked Direct that is due within the next two seconds is kept and rung at its instant, never before it: the
//     database's time and its measured error are waited for. Credit does not apply at the instant. The owner leaves direct bells
//     alone until a second after their time, so a direct bell that its writer declined would be a second late; and a burst
//     of them is bounded by what was submitted within two seconds, by the bound of what is kept here, and in the claim, where
//     hard limits are guarded. Only a lane that is paused at the instant is not rung.
//   - Everything else is the owner's: bells due later, lanes not known yet, and what exceeds the bounds of memory.
//
// Nothing is owed. A bell that is dropped here, or whose publish failed, stands in the database, where the owner finds it.
//
// # Coalescing
//
// One goroutine publishes. While one publish runs, the bells that come gather, and go out together, one call per lane,
// when it is done: under load many bells share an MPUB, and an idle system waits for nothing.
package bell
