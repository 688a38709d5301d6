package openapi

import (
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// Version is the version of the API that the document describes.
const Version = "1.0.0"

// Document is an OpenAPI 3.1 document. Its members are in the order in which they are read.
type Document struct {
	OpenAPI    string     `json:"openapi"`
	Info       info       `json:"info"`
	Servers    []server   `json:"servers"`
	Tags       []tag      `json:"tags"`
	Paths      paths      `json:"paths"`
	Components components `json:"components"`

	operations []Operation
}

type info struct {
	Title       string  `json:"title"`
	Version     string  `json:"version"`
	Summary     string  `json:"summary"`
	Description string  `json:"description"`
	License     license `json:"license"`
}

type license struct {
	Name       string `json:"name"`
	Identifier string `json:"identifier"`
}

type server struct {
	URL         string `json:"url"`
	Description string `json:"description"`
}

type tag struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

type components struct {
	Schemas         Properties     `json:"schemas"`
	Headers         headers        `json:"headers"`
	SecuritySchemes map[string]any `json:"securitySchemes"`
}

// path is an address with its operations.
type path struct {
	address string
	methods []method
}

type method struct {
	name string
	op   operation
}

type paths []path

// MarshalJSON keeps the order of the table.
func (p paths) MarshalJSON() ([]byte, error) {
	return ordered(len(p), func(i int) (string, any) { return p[i].address, methods(p[i].methods) })
}

type methods []method

// MarshalJSON keeps the order of the table.
func (m methods) MarshalJSON() ([]byte, error) {
	return ordered(len(m), func(i int) (string, any) { return strings.ToLower(m[i].name), m[i].op })
}

type operation struct {
	ID          string           `json:"operationId"`
	Tags        []string         `json:"tags"`
	Summary     string           `json:"summary"`
	Description string           `json:"description,omitempty"`
	Security    []map[string]any `json:"security"`
	Parameters  []parameter      `json:"parameters,omitempty"`
	Body        *requestBody     `json:"requestBody,omitempty"`
	Responses   responses        `json:"responses"`
	Samples     []sample         `json:"x-codeSamples"`
}

type sample struct {
	Lang   string `json:"lang"`
	Source string `json:"source"`
}

type parameter struct {
	Name        string  `json:"name"`
	In          string  `json:"in"`
	Required    bool    `json:"required,omitempty"`
	Description string  `json:"description"`
	Explode     *bool   `json:"explode,omitempty"` // false: elements with commas between
	Schema      *Schema `json:"schema"`
}

type requestBody struct {
	Required bool    `json:"required,omitempty"`
	Content  content `json:"content"`
}

type content map[string]media

type media struct {
	Schema *Schema `json:"schema,omitempty"`
}

type responses []response

// MarshalJSON keeps the order: successes first.
func (r responses) MarshalJSON() ([]byte, error) {
	return ordered(len(r), func(i int) (string, any) { return strconv.Itoa(r[i].status), r[i] })
}

type response struct {
	status      int
	Description string   `json:"description"`
	Headers     headers  `json:"headers,omitempty"`
	Content     content  `json:"content,omitempty"`
	Codes       []string `json:"x-problem-codes,omitempty"` // the list is open
}

type headers map[string]header

type header struct {
	Ref         string  `json:"$ref,omitempty"`
	Description string  `json:"description,omitempty"`
	Required    bool    `json:"required,omitempty"` // always there where it is named
	Schema      *Schema `json:"schema,omitempty"`
}

// headerTexts are the headers that answers may have.
var headerTexts = headers{
	"X-Request-Id":       {Required: true, Description: "Names the request in answers and in the server's log: as it was sent, or the server's own.", Schema: text(1, 128)},
	"ETag":               {Required: true, Description: "The version of what is answered, for If-None-Match and, where a route honours it, If-Match.", Schema: &Schema{Type: Types{"string"}}},
	"Retry-After":        {Required: true, Description: "Whole seconds after which to ask again.", Schema: &Schema{Type: Types{"string"}, Pattern: `^[1-9][0-9]*$`}},
	"WWW-Authenticate":   {Required: true, Description: "Asks for an API key.", Schema: &Schema{Type: Types{"string"}}},
	apiv1.HeaderReplayed: {Description: "true when the Idempotency-Key was known: what it made is answered as it is now.", Schema: choice("true")},
}

// groups are the tags, in the order in which they are shown.
var groups = []tag{
	{"Tasks", "Units of work: submit, look, cancel, retry. A task is stored durably before it is answered."},
	{"Schedules", "Rules that make tasks: expressions of cron, intervals and single instants."},
	{"Queues", "Where tasks wait. All apps share them; a queue is made by its first task."},
	{"Limit keys", "Limits that tasks of an app share which carry the same `limitKey`."},
	{"Bulk operations", "Changes of many tasks at once, in the background."},
	{"Events", "What happens to tasks, as it happens."},
	{"Statistics", "What happened to tasks, summed up by time."},
	{"Kinds", "What tasks do: built in, registered by a worker, or declared."},
	{"Workers", "The processes that execute tasks."},
	{"Apps", "Client applications, their settings, API keys and signing secrets."},
	{"Audit", "Who changed what, when and from where."},
	{"Operations", "Pages that need no credential."},
}

const about = "Every route of `/v1` needs `Authorization: Bearer <API key>`. Scopes hold those before them: read, submit, manage, admin. " +
	"Ids are integers below 2^53, written as strings; times RFC 3339 in UTC with milliseconds; durations whole numbers with their unit in the name. " +
	"Members and parameters that a route does not know are refused by name, also what is given twice. " +
	"Errors are RFC 9457 problems with a stable `code`; the lists of codes are open: go by the status where a code is not known. " +
	"Answers may get members that are not here yet: ignore what you do not know."

var build = sync.OnceValue(func() *Document { return assemble(Operations()) })

// Get gives the document. It is made once and must not be changed.
func Get() *Document { return build() }

// JSON gives the document's text, which is the same for the same program.
func JSON() []byte { return rendered().json }

func assemble(ops []Operation) *Document {
	b := &builder{rules: rules, taken: map[string]bool{}, used: map[string]bool{}, bodies: map[string]bool{}}
	for _, o := range ops {
		if o.Body != nil {
			b.close(reflect.TypeOf(o.Body))
		}
	}
	d := &Document{OpenAPI: "3.1.0", operations: ops,
		Info: info{Title: "Taskweir", Version: Version, Summary: "Submit tasks, schedule them, and see what became of them.", Description: about,
			License: license{"Apache License 2.0", "Apache-2.0"}},
		Servers: []server{{"/", "the process that serves this document"}},
	}
	for _, g := range groups {
		if slices.ContainsFunc(ops, func(o Operation) bool { return o.Tag == g.Name }) {
			d.Tags = append(d.Tags, g)
		}
	}
	for i := range ops {
		o := &ops[i]
		at := slices.IndexFunc(d.Paths, func(p path) bool { return p.address == o.Path })
		if at < 0 {
			at = len(d.Paths)
			d.Paths = append(d.Paths, path{address: o.Path})
		}
		d.Paths[at].methods = append(d.Paths[at].methods, method{o.Method, b.operation(o)})
	}
	b.ref(reflect.TypeFor[apiv1.Event]()) // the data of streams, which no media type describes
	d.Components = components{Schemas: b.schemas, Headers: headerTexts, SecuritySchemes: map[string]any{
		"apiKey": map[string]any{"type": "http", "scheme": "bearer", "description": "An API key of an app. Its scope is read, submit, manage or admin."},
		"ticket": map[string]any{"type": "apiKey", "in": "query", "name": "ticket", "description": "For browsers, which cannot send headers with an event stream: good for one request."},
	}}
	return d
}

// RequestSchema is the schema of an operation's body, by its id; nil when it has none.
func (d *Document) RequestSchema(id string) *Schema {
	for _, p := range d.Paths {
		for _, m := range p.methods {
			if m.op.ID == id && m.op.Body != nil {
				return m.op.Body.Content["application/json"].Schema
			}
		}
	}
	return nil
}

// Resolve follows a reference to a component; a reference with null beside it is followed too.
func (d *Document) Resolve(s *Schema) *Schema {
	if s == nil {
		return nil
	}
	for _, alt := range s.AnyOf {
		if alt.Ref != "" && s.Type == nil {
			s = alt
		}
	}
	if name, ok := strings.CutPrefix(s.Ref, refPrefix); ok {
		return d.Components.Schemas.Get(name)
	}
	return s
}

// close marks the types that requests are made of: they refuse members that they do not know.
func (b *builder) close(t reflect.Type) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || b.bodies[componentName(t)] {
		return
	}
	b.bodies[componentName(t)] = true
	for _, f := range reflect.VisibleFields(t) {
		b.close(f.Type)
	}
}

func (b *builder) operation(o *Operation) operation {
	out := operation{ID: o.ID, Tags: []string{o.Tag}, Summary: o.Title, Description: o.Text, Security: []map[string]any{},
		Samples: []sample{{"Shell", o.Line()}}}
	if o.Scope != "" {
		out.Security = append(out.Security, map[string]any{"apiKey": []string{o.Scope}})
		out.Description = strings.TrimSpace(out.Description + " Needs scope " + o.Scope + ".")
	}
	if o.Ticket {
		out.Security = append(out.Security, map[string]any{"ticket": []string{}})
	}
	for _, name := range o.PathParams() {
		p, ok := o.pathParam(name)
		if !ok {
			panic("openapi: no parameter " + name + " of " + o.Path)
		}
		out.Parameters = append(out.Parameters, parameter{Name: name, In: "path", Required: true, Description: p.Text, Schema: p.Schema})
	}
	for _, name := range o.Query {
		p, ok := o.param(name)
		if !ok {
			panic("openapi: no parameter " + name + " of " + o.Path)
		}
		in := parameter{Name: name, In: "query", Description: p.Text, Schema: p.Schema}
		if p.Schema.Items != nil {
			in.Explode = new(bool)
		}
		out.Parameters = append(out.Parameters, in)
	}
	out.Parameters = append(out.Parameters, o.headers()...)
	out.Body = b.body(o)
	out.Responses = append(b.answers(o), b.problems(o)...)
	return out
}

// headers are the parameters that stand in headers.
func (o *Operation) headers() (out []parameter) {
	if o.Idempotent {
		out = append(out, parameter{Name: apiv1.HeaderIdempotencyKey, In: "header", Schema: text(1, 255),
			Description: "Makes the request safe to repeat: for 24 h the same key and body answer with what the first one made."})
	}
	if o.IfMatch {
		out = append(out, parameter{Name: "If-Match", In: "header", Schema: &Schema{Type: Types{"string"}},
			Description: "Refuses the change when the ETag that was read is not the present one."})
	}
	if slices.ContainsFunc(o.Answers, func(a Answer) bool { return a.ETag }) && o.Method == http.MethodGet {
		out = append(out, parameter{Name: "If-None-Match", In: "header", Schema: &Schema{Type: Types{"string"}},
			Description: "Answers 304 when the ETag is still the present one."})
	}
	return out
}

func (b *builder) body(o *Operation) *requestBody {
	switch o.Reads {
	case Required, Optional:
		return &requestBody{Required: o.Reads == Required, Content: content{"application/json": {b.ref(reflect.TypeOf(o.Body))}}}
	case Empty:
		return &requestBody{Content: content{"application/json": {&Schema{Type: Types{"object"}, Closed: true, Description: "Nothing, or {}."}}}}
	}
	return nil
}

var requestID = header{Ref: "#/components/headers/X-Request-Id"}

func (b *builder) answers(o *Operation) (out responses) {
	conditional := false
	for _, a := range o.Answers {
		r := response{status: a.Status, Description: a.Text, Headers: headers{"X-Request-Id": requestID}}
		if o.ID == "metrics" { // the library's own page
			r.Headers = nil
		}
		if a.ETag {
			r.Headers["ETag"] = header{Ref: "#/components/headers/ETag"}
			conditional = conditional || o.Method == http.MethodGet
		}
		if a.Replayed {
			r.Headers[apiv1.HeaderReplayed] = header{Ref: "#/components/headers/" + apiv1.HeaderReplayed}
		}
		switch {
		case a.Type != nil && a.Media != "":
			r.Content = content{a.Media: {b.ref(reflect.TypeOf(a.Type))}}
		case a.Type != nil:
			r.Content = content{"application/json": {b.ref(reflect.TypeOf(a.Type))}}
		case a.Media != "":
			r.Content = content{a.Media: {}}
		}
		out = append(out, r)
	}
	if conditional {
		out = append(out, response{status: http.StatusNotModified, Description: "If-None-Match names the present ETag.",
			Headers: headers{"X-Request-Id": requestID, "ETag": {Ref: "#/components/headers/ETag"}}})
	}
	return out
}

// problems are the answers to what goes wrong, one for each status.
func (b *builder) problems(o *Operation) (out responses) {
	for _, code := range o.Problems() {
		c := Codes[code]
		if n := len(out); n == 0 || out[n-1].status != c.Status {
			out = append(out, response{status: c.Status, Headers: headers{"X-Request-Id": requestID},
				Content: content{"application/problem+json": {b.ref(reflect.TypeFor[apiv1.Problem]())}}})
		}
		r := &out[len(out)-1]
		if r.Description != "" {
			r.Description += "; "
		}
		r.Description += "`" + code + "`: " + c.Means
		r.Codes = append(r.Codes, code)
		switch c.Status {
		case http.StatusUnauthorized:
			r.Headers["WWW-Authenticate"] = header{Ref: "#/components/headers/WWW-Authenticate"}
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			r.Headers["Retry-After"] = header{Ref: "#/components/headers/Retry-After"}
		case http.StatusConflict:
			if code == "attempt_running" {
				r.Headers["Retry-After"] = header{Description: "With `attempt_running`: whole seconds after which to ask again.", Schema: headerTexts["Retry-After"].Schema}
			}
		}
	}
	return out
}
