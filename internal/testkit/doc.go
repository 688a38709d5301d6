// Package testkit starts, stops and kills private servers for tests, benchmarks and the cluster tour: MariaDB, Redis,
// nsqd, nsqlookupd, and Taskweir's own processes.
//
// Decisions. Everything listens on loopback only, on ports below the ephemeral range: a server that is down for a while
// must find its port free when it comes back, although thousands of clients dial out meanwhile, and a client that dials a
// port nobody listens on must not connect to itself. Everything lives in one temporary folder that Kit.Close removes.
// On Linux a child dies with its parent, whatever killed that. Readiness is asked by speaking a few bytes of each server's
// own protocol, so that this package needs the standard library only. MariaDB runs with its default durability
// (innodb_flush_log_at_trx_commit=1, doublewrite on): what is measured and tested here is what people run.
//
// nsqd and nsqlookupd are built from test/tools, a module of its own, into the user's cache folder, once per version.
//
// Nothing here ever touches a server or service that it did not start itself.
package testkit
