package openapi

import (
	"net/http"
	"slices"
	"strings"
)

// Operation is one route of the API as the document describes it.
type Operation struct {
	Method string // GET, POST, …
	Path   string // with {name} for what stands in a segment
	ID     string // operationId: for generators of clients
	Tag    string // the group it is shown in
	Title  string // a few words
	Text   string // more, in Markdown; "" where the title says all
	Scope  string // of the API key that it needs; "": it needs none
	Ticket bool   // takes ?ticket= in place of a key

	Query   []string // parameters, by their names in parameters
	Body    any      // a value of the Go type of the request; nil: see Reads
	Reads   Reads
	Answers []Answer
	Codes   []string // of the problems it answers beside those that Problems adds
	Without []string // codes that Problems adds and that it cannot answer

	Idempotent bool // honours Idempotency-Key
	IfMatch    bool // honours If-Match
	Example    Example
}

// Reads says what becomes of a request's body.
type Reads int

// What becomes of a request's body.
const (
	Nothing  Reads = iota // it is not looked at
	Empty                 // none, or {}
	Required              // Operation.Body
	Optional              // Operation.Body, or none
)

// Answer is one success.
type Answer struct {
	Status   int
	Text     string
	Type     any    // a value of the Go type; nil: Media says what, or there is no body
	Media    string // "": application/json where there is a Type
	ETag     bool
	Replayed bool // may say Idempotent-Replayed: true
}

// Example is a request that works on a fresh installation, with variables of the shell for what only exists there: $TASK, $SCHEDULE, ….
type Example struct {
	Query  string // without ?
	Body   string
	Before string // a line that makes what the example needs
	ID     string // stands for {id} in place of what the page's variables have
}

// Variables are what examples call the things of a path.
var variables = map[string]string{
	"/v1/tasks/{id}": "$TASK", "{attempt}": "$ATTEMPT", "/v1/schedules/{id}": "$SCHEDULE", "/v1/workers/{id}": "$WORKER", "/v1/apps/{app}": "$APP",
	"/v1/apps/{app}/keys/{key}": "$KEY", "/v1/queues/{name}": "default", "/v1/kinds/{name}": "report.monthly", "/v1/limit-keys/{key}": "customer-7",
	"/v1/bulk/{id}": "$BULK",
}

// Filled is the path of the example.
func (o *Operation) Filled() string {
	var out, way string
	for seg := range strings.SplitSeq(strings.TrimPrefix(o.Path, "/"), "/") {
		way += "/" + seg
		if strings.HasPrefix(seg, "{") {
			if v, ok := variables[way]; seg == "{id}" && o.Example.ID != "" {
				seg = o.Example.ID
			} else if ok {
				seg = v
			} else {
				seg = variables[seg]
			}
		}
		out += "/" + seg
	}
	return out
}

// Curl is a line for a shell that sets URL and AUTH, and the variables that the line names.
func (o *Operation) Curl() string {
	var b strings.Builder
	b.WriteString("curl -s")
	implied := http.MethodGet
	if o.Example.Body != "" {
		implied = http.MethodPost
	}
	if o.Method != implied {
		b.WriteString(" -X " + o.Method)
	}
	target := "$URL" + o.Filled()
	if o.Example.Query != "" {
		target += "?" + o.Example.Query
	}
	b.WriteString(` "` + target + `"`)
	if o.Scope != "" {
		b.WriteString(` -H "$AUTH"`)
	}
	if o.Example.Body != "" {
		b.WriteString(` -d '` + o.Example.Body + `'`)
	}
	return b.String()
}

// Line is the example as it is shown: what makes its things, and the call.
func (o *Operation) Line() string {
	if o.Example.Before != "" {
		return o.Example.Before + "\n" + o.Curl()
	}
	return o.Curl()
}

// PathParams names what stands in the segments of the path.
func (o *Operation) PathParams() (names []string) {
	for seg := range strings.SplitSeq(o.Path, "/") {
		if strings.HasPrefix(seg, "{") {
			names = append(names, strings.Trim(seg, "{}"))
		}
	}
	return names
}

// Problems lists the codes of every problem that the operation answers: its own, and those of what every operation does. The
// contract test provokes each.
func (o *Operation) Problems() []string {
	codes := slices.Clone(o.Codes)
	if o.Scope != "" {
		codes = append(codes, "malformed", "unauthorized", "app_disabled", "invalid", "database_unavailable", "internal")
		if o.Scope != "read" || slices.Contains(o.Query, "app") {
			codes = append(codes, "scope_too_small")
		}
	}
	if slices.Contains(o.Query, "app") {
		codes = append(codes, "app_not_found")
	}
	if o.Reads != Nothing {
		codes = append(codes, "too_deep", "request_too_large", "overloaded")
	}
	if o.Idempotent {
		codes = append(codes, "idempotency_key_reused")
	}
	if o.IfMatch {
		codes = append(codes, "precondition_failed")
	}
	codes = slices.DeleteFunc(codes, func(c string) bool { return slices.Contains(o.Without, c) })
	slices.SortFunc(codes, func(a, b string) int {
		if d := Codes[a].Status - Codes[b].Status; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return slices.Compact(codes)
}

// Operations lists every operation, in the order of the document.
func Operations() []Operation {
	return slices.Concat(taskOperations, scheduleOperations, fleetOperations, limitOperations, operateOperations, appOperations, eventOperations, pageOperations)
}
