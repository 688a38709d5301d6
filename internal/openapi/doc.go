// Package openapi describes the native API as an OpenAPI 3.1 document, made from the Go types of package apiv1 and a table of
// operations, and serves it at /openapi.json and as a page of our own at /docs.
//
// What is true of the wire types is read from them: members, types, what is always there (no omitempty), and, by
// comments.go, what their comments say; that file is made from the source, and a test fails when it is not up to date
// (go test ./internal/openapi -run Comments -update). What Go types cannot tell (enumerations, ranges, lengths, what may be null)
// stands in rules.go, what belongs to a route in the files table_*.go. Nothing of it is believed: package rest has a test that its
// routes and parameters are the table's, and the contract test here holds every answer of a running standalone against its schema,
// both sides of every bound against what the server enforces, and provokes every problem that an operation is said to answer.
//
// Requests are closed (additionalProperties: false), since the server refuses what it does not know; answers are open, so that they can grow.
//
// Why no library makes the document: the libraries that do (huma, swaggest) want to own decoding and handlers, and with handlers of
// another form the operations are written down by hand there too; here a scanner decodes, which keeps payloads byte for byte and names
// every fault of a request at once. What is left for a library is the reflection of some forty flat structs.
package openapi
