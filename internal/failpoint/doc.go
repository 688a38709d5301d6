// Package failpoint puts faults at exact places of our own code: between a commit and its answer, between a claim and its FIN,
// between an effect and its finish. A kill from outside hits these places too, but seldom and never on purpose.
//
// It exists twice. With the build tag faults the points are real: what was Set acts when the code passes. Without the tag, as
// every released program is built, At, In, Fails, Clock and ClockMs are empty functions that the compiler inlines: nothing of
// this package is in the program (TestNothingOfItIsInAProgram), and TASKWEIR_FAULTS_ADDR, which makes a process with the tag
// serve the package control, is refused as a setting that does not exist.
//
// The points are a table of the process and not a value that is passed along: a fault has to be where the code is, through
// whichever constructor it got there, and the seams of the core must not be wider for the sake of its tests.
//
// Faults of the database are injected where the driver is (internal/sqldb, also only with the tag), so that everything above
// it, the store's look-up of unknown commits first of all, is the code that runs in production. In marks a context with the
// point that its COMMIT passes.
package failpoint
