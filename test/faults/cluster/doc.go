// Package cluster is a whole Taskweir on this machine's loopback that can be hurt everywhere: two api, two scheduler and four
// worker processes, MariaDB, Redis, two nsqd and two nsqlookupd.
//
// # Links
//
// Every process reaches every server over a link of its own (package network): each of the eight processes of Taskweir MariaDB,
// Redis and both nsqd; worker1 and worker2 both nsqlookupd; both nsqd both nsqlookupd; every worker the sink that its tasks
// call; the clients both api.
//
// Two of these need help, because the address is not in a setting of the process:
//
//   - worker1 and worker2 know no nsqd but those that nsqlookupd names, and it names one address to everybody. So each is given
//     a View of each nsqlookupd, which names the worker's own links.
//   - All tasks call the same URL, whichever worker runs them. Behind it stands a Door, which finds out whose connection it was
//     given, by the kernel's tables, and passes it on over that worker's own link.
//
// worker3 and worker4, the schedulers and the APIs are told the addresses of the two nsqd.
//
// # Units
//
// A Unit is a process with somebody who starts it again when it ends, as a service manager would: Taskweir does not promise that
// a process starts while the database is away. A process that ends although nobody hurt it is a Surprise, and fails the run.
package cluster
