// Package httpkit is what every HTTP surface shares: the engine, the server, problems, a strict JSON scanner and the
// operations pages. It has no product words and is the only importer of gin.
//
// A handler has a plain signature, func(ctx, *Request) (Response, error), so that it can be called as a function in a test
// and knows nothing of the engine. What it returns as an error is rendered by its surface; the native API renders
// application/problem+json from *task.Error by one table.
//
// The path of a submit is the hot path: request bodies are read into pooled buffers, answers are appended to pooled
// buffers and written in one piece, nothing is logged per request unless the logger is at debug, and neither decoding nor
// encoding of a task uses reflection.
//
// Limits: a request body 16 MiB, headers 32 KiB, JSON nesting 1,000 levels; a request's headers have 10 s to arrive, its
// body 75 s, an answer 90 s to leave, an idle connection lives 2 min.
package httpkit
