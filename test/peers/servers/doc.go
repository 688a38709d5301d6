// Package servers starts the servers that the compared systems need: Redis with and without an append-only file, PostgreSQL,
// MariaDB, nsqd and nsqlookupd. Each system gets its own.
//
// Decisions. A server listens on a private port of loopback and keeps everything in the folder that it is given; on Linux it
// ends with the process that started it, whatever ended that. Nothing here touches a server that somebody else started.
// Durability is what each server ships with: MariaDB and PostgreSQL flush every commit, Redis flushes its append-only file
// each second or keeps none at all, nsqd keeps messages in memory. Sizes are the defaults too (128 MB of buffers for both
// databases), so that no system gets more memory than another.
//
// PostgreSQL refuses to run as root. Started by root it runs as the user postgres, or nobody, by setpriv of util-linux, in a
// temporary folder of that user's own: the folder of a root's process is closed to others.
package servers
