// Package serendipity is the Serendipity-job surface: the task platform of 2021 on Swow and NSQ (document: "Serendipity-job"),
// so that its clients and receivers go on with another base URL. docs/surfaces/serendipity.md says section by section what is
// served.
//
// # Who decides what
//
// The document decides, then what its PHP implementation did, then sense; a fault of the implementation that no client can rely
// on is not copied (a timed-out run that stays "running" for ever, retries that ignore the app's settings).
//
//   - A task is of kind serendipity.callback, or of the kind that the table of classes names for content.class. Its payload is
//     the content: a text byte for byte, an object as its JSON text without white space in the order sent. Its taskNo is a unique
//     key of scope forever, its name is kept beside it. It is retried step × n seconds after the end of a run, however that
//     failed, up to retryTotal times.
//   - A run is an attempt, and coroutine_id the attempt's id. What a client sees of it while it runs comes from the worker that runs
//     it (control.Service.Look); the stack is that of its goroutine, dressed as the frames of a PHP stack.
//   - What a surface may not decide it does not: to cancel, to ring again and to run again are use cases of /v1.
//
// # Signatures
//
// The signature covers three headers and not the request. In token mode, which the document means, the headers that creating an
// application answers are used for every request, for 30 days; they are a bearer token, and only TLS keeps others from using
// them. In strict mode, a setting of the app, the header payload is a digest of the request, the time is now, and a nonce is
// taken once.
package serendipity
