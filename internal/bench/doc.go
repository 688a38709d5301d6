// Package bench measures an installation of Taskweir the way a user can repeat it, and shows beside every figure what
// became of the tasks: how many were lost and how many ran twice.
//
// Decisions. Rates of different minutes on different machines cannot be compared, so the same run measures three
// yardsticks, interleaved with the rounds, and what counts are the ratios:
//
//	I  rows/s of a plain loop of 500-row INSERTs, 2 connections, one secondary index, in the same MySQL or MariaDB at
//	   its own durability
//	S  the same in SQLite with the settings that Taskweir uses
//	H  requests/s of a bare Go HTTP server that reads a POST and answers, with 256 keep-alive clients: the same client
//	   code that then submits over HTTP
//
// Figures are medians of the rounds. A rate of completed tasks counts committed ends and comes from the database's own
// times: first start to last end. Latencies end where the handler starts (or its context ends), which the handler itself
// notes. Everything of Taskweir runs in the process that measures, and so do the clients and the receiver: all share the
// machine's cores, as they do in the yardsticks.
//
// The package reaches Taskweir through the System interface and imports no adapter: the composition root implements it.
package bench
