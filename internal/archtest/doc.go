// Package archtest holds the rules of who may use what, as tests that need nothing but go test.
//
// The layers, from the inside: internal/task is the domain and imports nothing of ours. Around it are the use cases (control,
// scheduler, worker, with bell, flush, message and dbclock), which know ports, not technologies. Each technology has one
// package around those, and those never meet each other; rest is the surface; internal/app is the only one that sees
// everything, and cmd only starts it. tables_test.go is the whole list: a package, an import or a third-party library that is
// not in it fails the test, so that adding one is a decision somebody reads.
package archtest
