// Package modelcheck visits every state that one or two tasks, two workers and two schedulers can reach, with workers killed and
// stopped and messages and answers lost at every step, and compares each with the rules of the protocol. It holds no code but
// tests.
//
// # No second model
//
// The transitions are the product's own: each step puts rows into a SQLite database, calls the real function of internal/sqldb on
// them, and reads the rows back. How an attempt ends is decided by internal/worker (Trial) and internal/task (Decide). What is
// modelled is only what is around them: that a process forgets, that a message comes or does not, that time passes.
//
//   - The atom is the transaction. Two calls meet where one has read something and not yet begun its transaction, and where a
//     commit has happened and its answer is lost (sqldb.Observer). How statements of two transactions meet under MySQL's locks is
//     what the property tests of internal/sqldb try, at random.
//   - Messages are not kept. Any bell may be rung at any moment, to any worker, any number of times, also one that is not due or
//     whose row is gone: lost, doubled, late and forged messages are choices of the search.
//   - The clock stands still, in a bubble of testing/synctest. Instants are relative to it, and time passes by moving them to the
//     next one that anything depends on.
//   - Ids are renamed by their roles, so that states which differ only in numbers, or in which worker is which, are one. A step
//     that was taken in the same rows is not taken again.
//
// docs/model.md is the page for readers: what is checked, what is not, and what it found.
package modelcheck
