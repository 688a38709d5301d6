// Package app is the composition root: the only place that knows every part and puts them together into a process.
//
// A process is an object: Start makes it, Addr tells where it listens, Stop ends it; two of them may run in one test. Each
// part registers its end at the moment it exists and everything is ended in reverse order, each part within its own bound
// (lifecycle.go).
//
// The four kinds of process are sets of the same parts:
//
//	             store  live view  broker  ringer  scheduler  worker  API
//	api            ✓       ✓         ✓       ✓                          ✓
//	scheduler      ✓       ✓         ✓                 ✓
//	worker         ✓       ✓         ✓       ✓                  ✓
//	standalone     ✓       ✓         ✓       ✓         ✓        ✓       ✓
//
// Standalone replaces every server that was not named by an embedded one: SQLite, nsqd and Redis. It holds the lock of its
// data folder, so it knows at its start that every worker in its own database is dead, and rescues their tasks at once.
package app
