package openapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/taskweir/taskweir/internal/openapi"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// contract is the document as a client reads it, from its text, and what of it was seen.
type contract struct {
	ops     map[string]*oper
	headers map[string]bool      // of the components: those that are always there
	strict  *jsonschema.Compiler // answers have no members that the document does not name
	schemas sync.Map             // compiled, by pointer

	mu   sync.Mutex
	seen map[string]bool // "operation 201", "operation code"
}

// oper is an operation in the document.
type oper struct {
	ID         string `json:"operationId"`
	Method     string `json:"-"`
	Path       string `json:"-"`
	Pointer    string `json:"-"`
	Parameters []struct {
		Name, In string
		Required bool
		Schema   json.RawMessage
	}
	RequestBody *struct {
		Required bool
		Content  map[string]json.RawMessage
	}
	Responses map[string]*struct {
		Headers map[string]json.RawMessage
		Content map[string]struct{ Schema json.RawMessage }
		Codes   []string `json:"x-problem-codes"`
	}
	Security []map[string][]string
}

// readContract reads a document and closes the objects of its components: a member that is not documented is an error of the test.
func readContract(t testing.TB, raw []byte) *contract {
	t.Helper()
	var doc struct {
		Paths      map[string]map[string]*oper
		Components struct {
			Headers map[string]struct{ Required bool }
		}
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	c := &contract{ops: map[string]*oper{}, headers: map[string]bool{}, seen: map[string]bool{}, strict: jsonschema.NewCompiler()}
	for name, h := range doc.Components.Headers {
		c.headers[name] = h.Required
	}
	for path, methods := range doc.Paths {
		for method, o := range methods {
			o.Method, o.Path = strings.ToUpper(method), path
			o.Pointer = "#/paths/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(path) + "/" + method
			c.ops[o.ID] = o
		}
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range parsed.(map[string]any)["components"].(map[string]any)["schemas"].(map[string]any) {
		if s := s.(map[string]any); s["additionalProperties"] == nil && s["type"] == "object" {
			s["additionalProperties"] = false
		}
	}
	c.strict.DefaultDraft(jsonschema.Draft2020)
	c.strict.AssertFormat()
	if err := c.strict.AddResource(documentURL, parsed); err != nil {
		t.Fatal(err)
	}
	return c
}

const plainText = "text/plain; charset=utf-8"

const documentURL = "https://taskweir.test/openapi.json"

// schema compiles the schema at a JSON pointer of the document.
func (c *contract) schema(t testing.TB, pointer string) *jsonschema.Schema {
	t.Helper()
	if s, ok := c.schemas.Load(pointer); ok {
		return s.(*jsonschema.Schema)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.strict.Compile(documentURL + pointer)
	if err != nil {
		t.Fatalf("schema %s: %v", pointer, err)
	}
	c.schemas.Store(pointer, s)
	return s
}

func escapeMedia(m string) string { return strings.ReplaceAll(m, "/", "~1") }

// valid holds a body against the schema at a pointer.
func (c *contract) valid(t testing.TB, pointer string, body []byte) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return c.schema(t, pointer).Validate(v)
}

// validRequest reports what of a request breaks the document: parameters and body.
func (c *contract) validRequest(t testing.TB, o *oper, query url.Values, body []byte) error {
	t.Helper()
	for name, values := range query {
		i := slices.IndexFunc(o.Parameters, func(p struct {
			Name, In string
			Required bool
			Schema   json.RawMessage
		}) bool {
			return p.In == "query" && p.Name == name
		})
		if i < 0 || len(values) != 1 {
			return fmt.Errorf("parameter %s is not documented, or repeated", name)
		}
		if err := c.schema(t, fmt.Sprintf("%s/parameters/%d/schema", o.Pointer, i)).Validate(parameterValue(o.Parameters[i].Schema, values[0])); err != nil {
			return fmt.Errorf("parameter %s: %w", name, err)
		}
	}
	empty := len(bytes.TrimSpace(body)) == 0
	switch {
	case o.RequestBody == nil:
		return nil // what is sent is not looked at
	case empty && o.RequestBody.Required:
		return fmt.Errorf("a body is required")
	case empty:
		return nil
	}
	return c.valid(t, o.Pointer+"/requestBody/content/application~1json/schema", body)
}

// parameterValue is the value that a text stands for by a parameter's schema.
func parameterValue(schema json.RawMessage, text string) any {
	var s struct{ Type string }
	_ = json.Unmarshal(schema, &s) // a list of types stands for no text
	switch s.Type {
	case "integer":
		if v, err := jsonschema.UnmarshalJSON(strings.NewReader(text)); err == nil {
			if n, ok := v.(json.Number); ok {
				return n
			}
		}
	case "array":
		var list []any
		for part := range strings.SplitSeq(text, ",") {
			list = append(list, part)
		}
		return list
	}
	return text
}

// ask is a request under way to an operation.
type ask struct {
	w       *world
	o       *oper
	vars    map[string]string
	rawq    string
	body    []byte
	headers http.Header
	key     string
	client  *http.Client
}

// answer is what came back.
type answer struct {
	*http.Response
	body []byte
	t    testing.TB
}

func (w *world) ask(operation string) *ask {
	w.t.Helper()
	o := w.c.ops[operation]
	if o == nil {
		w.t.Fatalf("the document has no operation %s", operation)
	}
	return &ask{w: w, o: o, vars: w.vars, headers: http.Header{}, key: w.key, client: w.client}
}

func (a *ask) with(name, value string) *ask {
	vars := map[string]string{name: value}
	for k, v := range a.vars {
		if k != name {
			vars[k] = v
		}
	}
	a.vars = vars
	return a
}
func (a *ask) id(id apiv1.ID) *ask            { return a.with("id", id.String()) }
func (a *ask) query(q string) *ask            { a.rawq = q; return a }
func (a *ask) send(body string) *ask          { a.body = []byte(body); return a }
func (a *ask) header(name, value string) *ask { a.headers.Set(name, value); return a }
func (a *ask) as(key string) *ask             { a.key = key; return a }

// do sends the request, and holds the answer against the document.
func (a *ask) do() answer {
	t := a.w.t
	t.Helper()
	path := a.o.Path
	for name, v := range a.vars {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(v))
	}
	req, err := http.NewRequestWithContext(t.Context(), a.o.Method, a.w.url+path, bytes.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	req.URL.RawQuery, req.Header = a.rawq, a.headers
	if a.key != "" {
		req.Header.Set("Authorization", "Bearer "+a.key)
	}
	res, err := a.client.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", a.o.ID, err)
	}
	defer res.Body.Close()
	src := io.Reader(res.Body)
	if a.o.ID == "listenEvents" && res.StatusCode == http.StatusOK { // it has no end
		src = io.LimitReader(src, int64(len("retry: 2000\n\n")))
	}
	body, err := io.ReadAll(src)
	if err != nil {
		t.Fatalf("%s: %v", a.o.ID, err)
	}
	a.w.c.checkEvents(t, a.o, res, body)
	if err := a.w.c.check(t, a.o, res, body); err != nil {
		t.Errorf("%s %s?%s %.200s → %d %.500s\n%v", a.o.Method, path, a.rawq, a.body, res.StatusCode, body, err)
	}
	if query, err := url.ParseQuery(a.rawq); res.StatusCode < 300 {
		if err == nil {
			err = a.w.c.validRequest(t, a.o, query, taken(a.o, a.body, body))
		}
		if err != nil {
			t.Errorf("%s took a request that breaks the document: ?%s %.300s: %v", a.o.ID, a.rawq, a.body, err)
		}
	}
	return answer{res, body, t}
}

// taken is what the server took of a request: of a batch, the tasks that it does not answer an error for.
func taken(o *oper, body, answer []byte) []byte {
	if o.ID != "submitTasks" {
		return body
	}
	var sent struct {
		Tasks []json.RawMessage `json:"tasks"`
	}
	var got apiv1.BatchAnswer
	if json.Unmarshal(body, &sent) != nil || json.Unmarshal(answer, &got) != nil || len(sent.Tasks) != len(got.Items) {
		return body
	}
	for i, it := range got.Items {
		if it.Error != nil {
			sent.Tasks[i] = json.RawMessage(`{"kind":"echo"}`)
		}
	}
	mended, err := json.Marshal(sent)
	if err != nil {
		return body
	}
	return mended
}

// check holds an answer against the document and notes that it was seen.
func (c *contract) check(t testing.TB, o *oper, res *http.Response, body []byte) error {
	t.Helper()
	said := o.Responses[fmt.Sprint(res.StatusCode)]
	if said == nil {
		return fmt.Errorf("status %d is not documented", res.StatusCode)
	}
	for name, raw := range said.Headers {
		if c.always(name, raw) && res.Header.Get(name) == "" {
			return fmt.Errorf("header %s is missing", name)
		}
	}
	if len(said.Content) == 0 {
		if len(body) > 0 {
			return fmt.Errorf("a body is not documented")
		}
		c.note(o, fmt.Sprint(res.StatusCode))
		return nil
	}
	if _, text := said.Content[plainText]; text && len(body) == 0 { // nothing has no type
		c.note(o, fmt.Sprint(res.StatusCode))
		return nil
	}
	have, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	for media := range said.Content {
		want, _, err := mime.ParseMediaType(media)
		if err != nil || want != have {
			continue
		}
		if said.Content[media].Schema != nil {
			pointer := o.Pointer + "/responses/" + fmt.Sprint(res.StatusCode) + "/content/" + escapeMedia(media) + "/schema"
			if err := c.valid(t, pointer, body); err != nil {
				return err
			}
		}
		if have != "application/problem+json" {
			c.note(o, fmt.Sprint(res.StatusCode))
			return nil
		}
		return c.checkProblem(o, res, said.Codes, body)
	}
	return fmt.Errorf("content type %s is not documented", have)
}

// checkEvents holds the data of server-sent events against their schema.
func (c *contract) checkEvents(t testing.TB, o *oper, res *http.Response, body []byte) {
	t.Helper()
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		return
	}
	for line := range strings.SplitSeq(string(body), "\n") {
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			if err := c.valid(t, "#/components/schemas/Event", []byte(data)); err != nil {
				t.Errorf("%s: %s: %v", o.ID, data, err)
			}
		}
	}
}

// always reports whether a header is there in every answer that names it.
func (c *contract) always(name string, raw json.RawMessage) bool {
	var h struct {
		Ref      string `json:"$ref"`
		Required bool
	}
	_ = json.Unmarshal(raw, &h) // what is no header says nothing
	return h.Required || h.Ref != "" && c.headers[name]
}

func (c *contract) checkProblem(o *oper, res *http.Response, codes []string, body []byte) error {
	var p apiv1.Problem
	if err := json.Unmarshal(body, &p); err != nil {
		return err
	}
	switch {
	case p.Status != res.StatusCode:
		return fmt.Errorf("the problem says status %d", p.Status)
	case !slices.Contains(codes, p.Code):
		return fmt.Errorf("code %s is not documented with status %d: %v", p.Code, res.StatusCode, codes)
	case p.Code == "invalid" && len(p.Errors) == 0:
		return fmt.Errorf("no field is named")
	}
	c.note(o, p.Code)
	return nil
}

func (c *contract) note(o *oper, what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[o.ID+" "+what] = true
}

// missing lists what is documented and was not seen.
func (c *contract) missing() (out []string) {
	for _, o := range openapi.Operations() {
		for _, a := range o.Answers {
			if k := fmt.Sprint(o.ID, " ", a.Status); !c.seen[k] {
				out = append(out, k)
			}
		}
		for _, code := range o.Problems() {
			if k := o.ID + " " + code; !c.seen[k] {
				out = append(out, k)
			}
		}
	}
	return out
}

// want checks the status.
func (a answer) want(status int) answer {
	a.t.Helper()
	if a.StatusCode != status {
		a.t.Fatalf("status %d, want %d: %.2000s", a.StatusCode, status, a.body)
	}
	return a
}

// code checks the code of a problem.
func (a answer) code(want string) {
	a.t.Helper()
	if p := into[apiv1.Problem](a); p.Code != want {
		a.t.Errorf("%s %s: want %s: %d %.500s", a.Request.Method, a.Request.URL, want, a.StatusCode, a.body)
	}
}

func into[T any](a answer) (v T) {
	a.t.Helper()
	if err := json.Unmarshal(a.body, &v); err != nil {
		a.t.Fatalf("%v in %.500s", err, a.body)
	}
	return v
}
