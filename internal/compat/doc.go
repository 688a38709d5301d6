// Package compat holds what the legacy surfaces share: their date-times without a zone, how PHP reads and joins parameters,
// headers in two spellings, the window in which a signed request is taken once, and where a surface is mounted.
//
// A surface may translate; it may not decide. It decodes, authenticates, converts, calls the same use case as /v1 and
// renders its own envelope. What two of them need stands here; the surfaces themselves are the packages below this one
// and do not know each other.
//
// # Parameters
//
// The clients are PHP programs, and what they sign is what PHP makes of their parameters: an ordered tree of names, in
// which a nested value appears as "name[key]=value". Params is that tree, read from a form, a multipart body, a JSON object
// or a query string. A number keeps its digits as they were sent: it never becomes a float64, whose digits would be others.
//
// A parameter is taken only from where it is signed: of a POST from the body, of a GET from the query string.
//
// # What is signed twice
//
// Joining names and values without escapes means that one text can be read in several ways: "nonce_str=a&b=1" is also a nonce
// "a&b=1". Whoever replays a request could hide parameters in the nonce and so have a new one. NonceID therefore names a
// nonce by what stands before its first "&", which is the same in every reading.
package compat
