// Package mixed runs the programs of today beside those from before the newest migration, on the migrated database: what an upgrade
// that takes its time looks like.
//
// The older programs are built from the repository's own history: the parent of the commit that added the migration last. A clone
// without that history cannot do it, and says so (ErrNoHistory).
//
// At first each kind of process is there once of each build, the older on a schema that is newer than it knows; then, round after round, a
// process is drained and replaced by the other build, back and forth as a seed says, until in the end all are new: every pair of
// builds meets.
package mixed
