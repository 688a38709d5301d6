// Package e2e tests Taskweir as people run it: real processes, real servers, real faults. It holds no code but tests.
//
// The tests speak only the documented surface: environment variables, the v1 API, signals, exit codes. What must never
// happen is judged from outside, by a receiver that counts how often each (task, epoch) called it: an accepted task that
// never came is a loss, a pair that came twice is a doubled run.
//
// Tests with separate servers run under "make test" only (TASKWEIR_TEST_MYSQL says that servers may be used), and start
// their own: they stop and kill them. Those that share a cluster are subtests of TestOnOneCluster. Tests of standalone need nothing but Go.
package e2e
