// Package goodjob is the GoodJob surface: the HTTP-callback task platform of 2021 (document: "GoodJob"), so that its clients and
// receivers go on with another base URL. docs/surfaces/goodjob.md says section by section what is served.
//
// # Who decides what
//
// The document decides, then what its PHP implementation did, then sense. Where the implementation had a fault that a
// client cannot rely on (a task of another app, an interception that ends as "processed"), it is not copied.
//
//   - A task is of kind goodjob.callback, retried after step × n seconds (at most 3,600) up to retryTotal times. Its
//     payload is the content, byte for byte.
//   - A taskNo is taken while a task with it has status 0, that is until its time has come: unique scope until_due, decided by the
//     store, so that of two requests at once exactly one gets the number.
//   - Status: 0 scheduled and not run yet, 1 due, running or waiting for a retry, 2 succeeded or failed, 3 cancelled.
//   - logs has one row per run that ended, numbered from 1. A run that was handed back before it reached the receiver (drain,
//     open breaker) is none.
//
// # Signatures
//
// The clients of two generations sign differently: with or without empty parameters, with names of headers in underscores or in
// hyphens, and a content that is sent as a JSON object name by name or as its JSON text. A request is taken when one of these readings verifies;
// the secret takes part in all of them. Comparisons take constant time.
package goodjob
