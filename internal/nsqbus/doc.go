// Package nsqbus carries bells over NSQ: a publisher over a pool of nsqds and a source that consumes lanes. It is the only
// importer of go-nsq and the only place that speaks nsqlookupd's HTTP.
//
// # Why connections and not go-nsq's Producer and Consumer
//
// Both types are built on go-nsq's Conn, which does the protocol (identify, TLS, auth, frames, heartbeats, FIN and REQ).
// What stands above it there does not fit what a lane needs, so this package has its own:
//
//   - A Producer is one nsqd without failover and can leave a goroutine behind when it is stopped while answers arrive.
//     Here a Publisher spreads over all nsqds, pipelines on each connection and knows when one was lost or made.
//   - A Consumer shares one total among its connections with rules that can leave the share of a connection too high
//     after the total was lowered, or at 0 for 5 s; it sleeps through reconnects, and Stop may take 30 s. Here the in-flight limit
//     is divided among the connections exactly, at once, and Close is prompt.
//   - There is no back-off, no attempt limit and no automatic answer to switch off, because there is none.
//
// # What is promised
//
// Nothing: a published bell may be lost, doubled or late, and an error of Publish means that the outcome is unknown. The
// bell's row in the database and the re-ring make that harmless. What the package owes is speed, and honesty about
// connections: Generation grows whenever something rung before may be gone.
//
// A process that stands still with its connections open is sent messages until nsqd misses its heartbeats, and those come
// back when their timeout of 10 s ends, not when the connection does. How long nsqd is to wait is asked for (SilentAfter).
//
// A topic's messages wait in it until its first channel exists; sources make topic and channel (Channel) on every nsqd when
// they open a lane, so the order of starting publishers and workers does not matter.
package nsqbus
