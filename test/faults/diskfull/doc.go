// Package diskfull fills disks: the one under a standalone's SQLite, and the one under a cluster's nsqd.
//
// Each disk is a small tmpfs, which needs root. It is filled by ballast to the last byte and kept full while the load goes on.
// Under SQLite a submit must then be refused with a clear error (503, database_unavailable or outcome_unknown, never an
// internal one); under nsqd, which is only the doorbell, submits must go on to be taken. Nothing that was acknowledged may be lost, and
// when there is room again everything must go on by itself: no process is touched.
package diskfull
