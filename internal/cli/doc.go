// Package cli is the taskweir command: what people type.
//
// Commands that look at or change tasks, workers and queues talk to the API over HTTP like any other client, with the wire types
// of pkg/apiv1; they need an address and a key, or a standalone's data folder beside them. migrate, doctor, standalone and bench
// reach further, through hooks that the composition root provides, so that this package imports no adapter.
//
// # For people and for scripts
//
// Results go to standard output, as tables or, with -o json, as the API's own JSON: payloads and results stay byte for byte what
// they are. Everything else goes to standard error. An error says what to do about it. The exit code tells a script what
// happened: exitCodes names them all, "taskweir help exit-codes" and docs/cli.md show them.
//
// Requests, their repeats, event streams and logs that are followed are pkg/client's; this package adds the words.
//
// A submit carries an idempotency key, its own or a random one, so that repeating it after a broken connection is safe; the
// command does that by itself.
package cli
