// Package apiv1 holds the wire types of Taskweir's native API, for servers and clients alike. It imports the standard
// library only.
//
// JSON is camelCase. Times are RFC 3339 in UTC with milliseconds, durations numbers with the unit in their name, ids
// integers below 2^53 written as strings. What a task does not have is null.
//
// Payloads are kept byte for byte by the server. A Go client that wants its bytes to arrive as they are must write the
// request with AppendJSON: encoding/json compacts and escapes a json.RawMessage on the way out.
package apiv1
