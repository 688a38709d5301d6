package openapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/openapi"
)

// TestSchemasAndServerAgree sends requests made from the schemas to an API: what a schema refuses the server refuses, and what the
// server takes its schema takes; what the server refuses although the schema takes it (another task has the key, the time is over) it
// refuses with a documented problem. Each request is an example with one member, or two, replaced by values at and beyond the bounds that its schema
// names, and by values of every other type.
func TestSchemasAndServerAgree(t *testing.T) {
	c := readContract(t, openapi.JSON())
	f := newFaulty(t, c, nil)
	f.things()
	taken, refused := 0, 0
	try := func(o openapi.Operation, body []byte) {
		a := f.anywhere(o).send(string(body)).do() // holds answer and, when it was taken, request against the document
		switch fits := c.validRequest(t, c.ops[o.ID], nil, body) == nil; {
		case a.StatusCode < 300:
			taken++
		case !fits:
			if refused++; a.StatusCode != 422 && a.StatusCode != 400 && a.StatusCode != 413 {
				t.Errorf("%s: %.300s breaks the schema, the server says %d %.300s", o.ID, body, a.StatusCode, a.body)
			}
		}
	}
	for _, o := range openapi.Operations() {
		for _, base := range bases[o.ID] {
			for _, body := range variants(t, c, o, base) {
				try(o, body)
			}
		}
		if o.Body != nil && bases[o.ID] == nil {
			t.Errorf("%s has a body, but no request to begin with", o.ID)
		}
	}
	if taken < 100 || refused < 500 {
		t.Errorf("only %d requests were taken and %d refused", taken, refused)
	}
	t.Logf("%d taken, %d refused by both", taken, refused)
}

// bases are requests that the server takes, with as many members as go together.
var bases = map[string][]string{
	"submitTask": {
		`{"kind":"echo","queue":"q","payload":1,"priority":"low","delayMs":600000,"timeoutMs":1,"labels":{"a":"b"},"completionUrl":"https://example.com/x",
		"retry":{"policy":"linear","baseMs":10,"capMs":20,"jitter":0.5,"max":1}}`,
		`{"kind":"echo","runAt":"2090-01-01T00:00:00Z","expiresAt":"2091-01-01T00:00:00Z","uniqueKey":"agree","uniqueScope":"window","uniqueWindowMs":1,"uniqueOnConflict":"keep",
		"retry":{"policy":"list","delaysMs":[1,2]}}`,
	},
	"submitTasks":     {`{"tasks":[{"kind":"echo","delayMs":600000}]}`},
	"retryTask":       {`{"force":true,"payload":1}`},
	"completeTask":    {`{"epoch":1,"outcome":"failed","error":{"code":"x","message":"y"},"permanent":true,"retryAfterMs":5}`, `{"epoch":1,"outcome":"succeeded","result":1}`},
	"createSchedule":  {agreeSchedule, `{"name":"other","spec":{"cron":"0 0 * * *","dialect":"unix"},"task":{"kind":"echo"}}`, `{"name":"third","spec":{"at":"2090-01-01T00:00:00Z"},"task":{"kind":"echo"}}`},
	"replaceSchedule": {agreeSchedule},
	"previewSchedule": {`{"spec":{"everyMs":60000,"anchor":"2026-01-01T00:00:00Z"},"zone":"UTC","from":"2026-01-01T00:00:00Z","count":2,"dstGap":"skip","dstOverlap":"both",
		"jitterMs":5,"startAt":"2026-01-01T00:00:00Z","endAt":"2030-01-01T00:00:00Z"}`},
	"backfillSchedule": {`{"from":"2026-01-01T00:00:00Z","to":"2026-01-01T02:00:00Z"}`},
	"createApp": {`{"name":"agree","callbackUrl":"https://example.com/x","weight":2,"paused":true,"keepDeliveries":true,"limits":{"concurrency":3},"signingSecret":"0123456789abcdef","step":5,"retryTotal":1,"remark":"r",
		"callbackHeaderStyle":"hyphen","signatureMode":"token"}`},
	"updateApp": {`{"name":"agree","callbackUrl":"https://example.com/x","weight":2,"paused":false,"disabled":false,"keepDeliveries":true,"limits":{"rate":{"tasks":5,"perMs":1000}},"step":5,"retryTotal":1,"remark":"r",
		"callbackHeaderStyle":"hyphen","signatureMode":"token"}`},
	"createBulk": {
		`{"action":"cancel","filter":{"state":"queued","queue":"q","kind":"echo","labels":{"a":"b"},"uniqueKey":"u","from":"2026-01-01T00:00:00Z","to":"2026-02-01T00:00:00Z"},"dryRun":true}`,
		`{"action":"delete","filter":{"ids":["1","2"]}}`,
	},
	"putQueue":          {`{"limits":{"rate":{"tasks":50,"perMs":1000,"burst":5},"concurrency":7},"paused":false}`},
	"putLimitKey":       {`{"limits":{"rate":{"tasks":50,"perMs":1000,"burst":5},"concurrency":7},"paused":false}`},
	"createEventTicket": {`{"task":"1"}`},
	"createKey":         {`{"name":"k","scope":"read"}`},
}

const agreeSchedule = `{"name":"agree","spec":{"everyMs":3600000,"anchor":"2026-01-01T00:00:00Z"},"zone":"Europe/Berlin","dstGap":"skip","dstOverlap":"both",
	"misfire":{"policy":"all","maxAgeMs":5},"overlap":"skip","jitterMs":5,"startAt":"2026-01-01T00:00:00Z","endAt":"2099-01-01T00:00:00Z",
	"maxConsecutiveFailures":5,"paused":true,"labels":{"a":"b"},"task":{"kind":"echo","queue":"q","payload":"{{slot}}"}}`

// variants are a request with each member in turn left out, and replaced by each of the values at hand.
func variants(t *testing.T, c *contract, o openapi.Operation, base string) (out [][]byte) {
	t.Helper()
	var whole any
	if err := json.Unmarshal([]byte(base), &whole); err != nil {
		t.Fatalf("%s: %v", base, err)
	}
	out = append(out, []byte(base))
	for _, p := range places(whole, nil) {
		for _, v := range append(extremes(schemaAt(o, p)), strange...) {
			out = append(out, changed(t, base, p, v))
		}
		out = append(out, changed(t, base, p, nil))
	}
	for _, p := range append(objects(whole, nil), []string{}) {
		out = append(out, changed(t, base, append(slices.Clone(p), "nope"), 1))
	}
	return out
}

// strange are values of every type.
var strange = []any{json.RawMessage("null"), true, false, 0, 1, -1, 1.5, 1e300, "", "x", "2090-01-01T00:00:00Z", "2090-01-01", []any{}, []any{1}, map[string]any{}, map[string]any{"a": 1}}

// Members that the server takes and no schema names would be found by nobody: every name that internal/rest reads anywhere is sent in
// every object of every request where its schema does not have it, and must be refused as unknown.
func TestServerKnowsNoOtherMembers(t *testing.T) {
	c := readContract(t, openapi.JSON())
	f := newFaulty(t, c, nil)
	f.things()
	names := scannedNames(t)
	if len(names) < 70 || !slices.Contains(names, "keepDeliveries") {
		t.Fatalf("internal/rest reads only %v", names)
	}
	sent := 0
	for _, o := range openapi.Operations() {
		for _, base := range bases[o.ID] {
			var whole any
			if err := json.Unmarshal([]byte(base), &whole); err != nil {
				t.Fatal(err)
			}
			for _, way := range append(objects(whole, nil), []string{}) {
				schema := schemaAt(o, way)
				for _, name := range names {
					if schema == nil || schema.Properties.Get(name) != nil || schema.Additional != nil {
						continue
					}
					sent++
					body := changed(t, base, append(slices.Clone(way), name), json.RawMessage("null"))
					if a := f.anywhere(o).send(string(body)).do(); !refusedByName.MatchString(string(a.body)) && !neverTaken[o.ID+" "+name] {
						t.Errorf("%s knows %s in %q, its schema does not: %d %.300s", o.ID, name, strings.Join(way, "."), a.StatusCode, a.body)
					}
				}
			}
		}
	}
	for _, refused := range []struct{ id, body string }{
		{"createApp", `{"name":"n","disabled":true}`}, {"updateApp", `{"id":"n"}`}, {"updateApp", `{"signingSecret":"0123456789abcdef"}`}} {
		if a := f.ask(refused.id).send(refused.body).do(); a.StatusCode != 422 || !strings.Contains(string(a.body), `"rule":"not_allowed"`) {
			t.Errorf("%s takes %s: %d %s", refused.id, refused.body, a.StatusCode, a.body)
		}
	}
	if sent < 1000 {
		t.Errorf("only %d names were tried", sent)
	}
}

// refusedByName is how a member is refused whatever its value is.
var refusedByName = regexp.MustCompile(`"rule":"(unknown_field|read_only)"`)

// neverTaken are members that are read to be refused in words of their own (not_allowed, and what breaks a type before).
var neverTaken = map[string]bool{"createApp disabled": true, "updateApp id": true, "updateApp signingSecret": true}

// scannedNames are the texts of the cases in internal/rest, among which are the names of all members that it reads.
func scannedNames(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../rest/*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range regexp.MustCompile(`(?m)^\s*case ("[A-Za-z]+"(?:, "[A-Za-z]+")*):`).FindAllStringSubmatch(string(raw), -1) {
			for name := range strings.SplitSeq(line[1], ", ") {
				found[strings.Trim(name, `"`)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// places are the ways to every member and element.
func places(v any, way []string) (out [][]string) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if k == "payload" || k == "result" { // any JSON
				continue
			}
			at := append(slices.Clone(way), k)
			out = append(append(out, at), places(v[k], at)...)
		}
	case []any:
		for i := range v {
			at := append(slices.Clone(way), fmt.Sprint(i))
			out = append(append(out, at), places(v[i], at)...)
		}
	}
	return out
}

// objects are the ways to every object with members of fixed names.
func objects(v any, way []string) (out [][]string) {
	for _, p := range places(v, way) {
		x := v
		for _, k := range p {
			switch y := x.(type) {
			case map[string]any:
				x = y[k]
			case []any:
				x = y[int(k[0]-'0')]
			}
		}
		if _, ok := x.(map[string]any); ok && p[len(p)-1] != "labels" { // names of the client's own
			out = append(out, p)
		}
	}
	return out
}

// changed is a request with another value in one place; without it for nil.
func changed(t *testing.T, base string, way []string, value any) []byte {
	t.Helper()
	var whole any
	if err := json.Unmarshal([]byte(base), &whole); err != nil {
		t.Fatal(err)
	}
	var set func(v any, way []string) any
	set = func(v any, way []string) any {
		if len(way) == 0 {
			return value
		}
		switch v := v.(type) {
		case map[string]any:
			if len(way) == 1 && value == nil {
				delete(v, way[0])
			} else {
				v[way[0]] = set(v[way[0]], way[1:])
			}
			return v
		case []any:
			i := int(way[0][0] - '0')
			if len(way) == 1 && value == nil {
				return slices.Delete(v, i, i+1)
			}
			v[i] = set(v[i], way[1:])
			return v
		}
		return v
	}
	b, err := json.Marshal(set(whole, way))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// schemaAt finds the schema of a place in a request.
func schemaAt(o openapi.Operation, way []string) *openapi.Schema {
	d := openapi.Get()
	s := d.RequestSchema(o.ID)
	for _, k := range way {
		s = d.Resolve(s)
		switch {
		case s == nil:
			return nil
		case s.Items != nil:
			s = s.Items
		case s.Properties.Get(k) != nil:
			s = s.Properties.Get(k)
		default:
			s = s.Additional
		}
	}
	return d.Resolve(s)
}

// extremes are values at the bounds of a schema, and one step beyond.
func extremes(s *openapi.Schema) (out []any) {
	if s == nil {
		return nil
	}
	for _, v := range s.Enum {
		if v != nil {
			out = append(out, v)
		}
	}
	for _, alt := range s.AnyOf {
		out = append(out, extremes(alt)...)
	}
	if s.Const != nil {
		out = append(out, s.Const)
	}
	for _, n := range []*openapi.Number{s.Minimum, s.Maximum} {
		if n != nil {
			out = append(out, float64(*n), float64(*n)-1, float64(*n)+1)
		}
	}
	for _, n := range []*int{s.MinLength, s.MaxLength} {
		if n != nil {
			out = append(out, text(*n), text(*n+1), text(max(0, *n-1)))
		}
	}
	for _, n := range []*int{s.MinItems, s.MaxItems} {
		if n != nil && s.Items != nil && slices.Contains(s.Items.Type, "integer") {
			out = append(out, slices.Repeat([]any{1}, *n), slices.Repeat([]any{1}, *n+1), slices.Repeat([]any{1}, max(0, *n-1)))
		}
	}
	if n := s.MaxProperties; n != nil {
		out = append(out, named(*n, 1, 1), named(*n+1, 1, 1), named(1, 63, 255), named(1, 64, 1), named(1, 1, 256), map[string]any{"": "x"})
	}
	if s.Pattern != "" {
		out = append(out, text(1), text(16), text(17), text(40), text(41), text(64), text(65), text(128), text(129), "UPPER", "a b", "ä", "a.b_c-d", "http://x", "HTTPS://example.com/"+text(2028),
			"https://example.com/"+text(2029))
	}
	return out
}

func text(n int) string { return strings.Repeat("a", n) }

// named are n labels.
func named(n, name, value int) map[string]any {
	out := map[string]any{}
	for i := range n {
		out[text(name-1)+string(rune('A'+i))] = text(value)
	}
	return out
}

// Query parameters agree too: values at and beyond their bounds, and values of other types.
func TestParametersAndServerAgree(t *testing.T) {
	c := readContract(t, openapi.JSON())
	f := newFaulty(t, c, nil)
	f.things()
	n := 0
	for _, o := range openapi.Operations() {
		if o.Method != "GET" || o.Scope == "" || o.Ticket {
			continue
		}
		for _, name := range o.Query {
			if name == "app" || name == "wait" {
				continue // have tests of their own
			}
			for _, v := range parameterValues {
				query := name + "=" + url.QueryEscape(v)
				a := f.anywhere(o).query(query).do() // what is taken is held against the schema
				fits := c.validRequest(t, c.ops[o.ID], url.Values{name: {v}}, nil) == nil
				if n++; !fits && a.StatusCode < 300 {
					t.Errorf("%s?%s is taken, but breaks the schema", o.ID, query)
				}
			}
		}
	}
	if n < 300 {
		t.Errorf("only %d requests", n)
	}
}

var parameterValues = []string{"", "0", "1", "1000", "1001", "-1", "1.5", "x", "true", "false", "TRUE", "yes", "t", "queued", "fired", "default", "UPPER", "a:b", ":b", "a:",
	"2026-01-01T00:00:00Z", "2026-01-01", "1,2", "1,x", strings.Repeat("a", 41), strings.Repeat("a", 65), strings.Repeat("a", 256)}

// FuzzRequests changes requests anywhere and looks at what TestSchemasAndServerAgree looks at, with several changes at once.
func FuzzRequests(f *testing.F) {
	ops := openapi.Operations()
	for i := range uint64(8) {
		f.Add(i, i*7)
	}
	c := readContract(f, openapi.JSON())
	all := newFaulty(f, c, nil)
	all.things()
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(bases)), func(id string) bool { return indexOf(id) < 0 })
	f.Fuzz(func(t *testing.T, a, b uint64) {
		w := all.in(t)
		r := rand.New(rand.NewPCG(a, b))
		for range 20 {
			id := names[r.IntN(len(names))]
			o := ops[indexOf(id)]
			base := bases[id][r.IntN(len(bases[id]))]
			for range 1 + r.IntN(3) {
				more := variants(t, c, o, base)
				next := string(more[r.IntN(len(more))])
				if json.Valid([]byte(next)) && next != "null" {
					base = next
				}
			}
			if a := w.anywhere(o).send(base).do(); a.StatusCode == 500 { // do holds answer and request against the document
				t.Errorf("%s: %s → %s", id, base, a.body)
			}
		}
	})
}
