package openapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page's template and style
	"encoding/base64"
	"encoding/json"
	"html/template"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

//go:embed page.html
var pageSource string

//go:embed page.css
var pageStyle string

// Setup is what the examples of the page need first. It is run by a test, as it stands there, before every example.
const Setup = `URL=http://127.0.0.1:8080
AUTH="Authorization: Bearer $(cat .taskweir/bootstrap.key)"

first() { grep -o '"id":"[^"]*"' | head -n 1 | cut -d '"' -f 4; }
TASK=$(curl -s "$URL/v1/tasks" -H "$AUTH" -d '{"kind":"echo"}' | first)
ATTEMPT=$(curl -s "$URL/v1/tasks/$TASK?wait=10s" -H "$AUTH" | grep -o '"attempts":.*' | first)
SCHEDULE=$(curl -s "$URL/v1/schedules" -H "$AUTH" -d '{"name":"hourly","spec":{"cron":"@hourly"},"task":{"kind":"echo"}}' | first)
WORKER=$(curl -s "$URL/v1/workers" -H "$AUTH" | first)
APP=$(curl -s "$URL/v1/apps" -H "$AUTH" -d '{"name":"shop"}' | first)
BULK=$(curl -s "$URL/v1/bulk" -H "$AUTH" -d '{"action":"retry","filter":{"state":"failed"}}' | first)
KEY=$(curl -s "$URL/v1/apps/$APP/keys" -H "$AUTH" -d '{"scope":"read"}' | first)`

// page renders the document for people, and gives the Content-Security-Policy that allows its style and nothing else.
func page(d *Document) ([]byte, string) {
	sum := sha256.Sum256([]byte(pageStyle))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	var b bytes.Buffer
	t := template.Must(template.New("page").Funcs(template.FuncMap{"prose": prose, "type": typeOf, "limits": limitsOf}).Parse(pageSource))
	err := t.Execute(&b, map[string]any{"Style": template.CSS(pageStyle), "Doc": d, "Groups": d.grouped(), "Setup": Setup, "Schemas": d.Components.Schemas}) //nolint:gosec // the style is ours
	if err != nil {
		panic("openapi: page: " + err.Error()) // a mistake in the template: the first test that runs finds it
	}
	return b.Bytes(), policy
}

// group is a tag with its operations.
type group struct {
	tag
	ID         string
	Operations []shown
}

// shown is an operation as the page has it.
type shown struct {
	operation
	Method, Path, Scope, Curl string
	Body                      *Schema
	Optional                  bool
	Answers                   []shownAnswer
	Problems                  []shownProblem
}

type shownAnswer struct {
	Status  int
	Text    string
	Schema  *Schema
	Media   string
	Headers []string
}

type shownProblem struct {
	Status      int
	Code, Means string
}

func (d *Document) grouped() (out []group) {
	for _, t := range d.Tags {
		g := group{tag: t, ID: "group-" + strings.ReplaceAll(strings.ToLower(t.Name), " ", "-")}
		for i := range d.operations {
			if o := &d.operations[i]; o.Tag == t.Name {
				g.Operations = append(g.Operations, d.show(o))
			}
		}
		out = append(out, g)
	}
	return out
}

func (d *Document) show(o *Operation) shown {
	var op operation
	for _, p := range d.Paths {
		for _, m := range p.methods {
			if p.address == o.Path && m.name == o.Method {
				op = m.op
			}
		}
	}
	s := shown{operation: op, Method: o.Method, Path: o.Path, Scope: o.Scope, Curl: o.Line(), Optional: o.Reads == Optional}
	if op.Body != nil && o.Reads != Empty {
		s.Body = op.Body.Content["application/json"].Schema
	}
	for _, r := range op.Responses {
		if r.Codes != nil {
			continue
		}
		a := shownAnswer{Status: r.status, Text: r.Description}
		for media, c := range r.Content {
			a.Media, a.Schema = media, c.Schema
		}
		for name := range r.Headers {
			if name != "X-Request-Id" {
				a.Headers = append(a.Headers, name)
			}
		}
		slices.Sort(a.Headers)
		s.Answers = append(s.Answers, a)
	}
	for _, code := range o.Problems() {
		s.Problems = append(s.Problems, shownProblem{Codes[code].Status, code, Codes[code].Means})
	}
	return s
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// prose shows a text whose only mark-up are backticks.
func prose(s string) template.HTML {
	return template.HTML(codeSpan.ReplaceAllString(template.HTMLEscapeString(s), "<code>$1</code>")) //nolint:gosec // escaped
}

const refPrefix = "#/components/schemas/"

// typeOf names the type of a schema, with links.
func typeOf(s *Schema) template.HTML {
	return template.HTML(typeText(s)) //nolint:gosec // names of ours
}

func typeText(s *Schema) string {
	switch {
	case s == nil:
		return "any"
	case s.Ref != "":
		name := strings.TrimPrefix(s.Ref, refPrefix)
		return `<a href="#schema-` + name + `">` + name + `</a>`
	case s.Const != nil:
		return template.HTMLEscapeString(jsonText(s.Const))
	case s.AnyOf != nil && s.Type == nil:
		var parts []string
		for _, x := range s.AnyOf {
			parts = append(parts, typeText(x))
		}
		return strings.Join(parts, " or ")
	case s.Items != nil:
		list := "array of " + typeText(s.Items)
		if slices.Contains(s.Type, "null") {
			list += " or null"
		}
		return list
	case len(s.Type) == 0:
		return "any JSON"
	}
	return strings.Join(s.Type, " or ")
}

func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}

// limitsOf says in a few words what a value is bound by.
func limitsOf(s *Schema) (out []string) {
	if s == nil {
		return nil
	}
	if s.Items != nil {
		out = append(out, limitsOf(s.Items)...)
	}
	for _, x := range s.AnyOf {
		out = append(out, limitsOf(x)...)
	}
	if len(s.Enum) > 0 {
		var names []string
		for _, v := range s.Enum {
			if v != nil {
				names = append(names, jsonText(v))
			}
		}
		out = append(out, "one of "+strings.Join(names, ", "))
	}
	if s.Format != "" {
		out = append(out, "format "+s.Format)
	}
	if s.Pattern != "" {
		out = append(out, "pattern "+s.Pattern)
	}
	out = append(out, span("", s.Minimum, s.Maximum)...)
	out = append(out, span(" characters", whole(s.MinLength), whole(s.MaxLength))...)
	out = append(out, span(" items", whole(s.MinItems), whole(s.MaxItems))...)
	out = append(out, span(" members", whole(s.MinProperties), whole(s.MaxProperties))...)
	if s.Default != nil {
		out = append(out, "default "+jsonText(s.Default))
	}
	return out
}

func whole(n *int) *Number {
	if n == nil {
		return nil
	}
	f := Number(*n)
	return &f
}

// span says "1 … 100 characters".
func span(unit string, lo, hi *Number) []string {
	show := func(n *Number) string { return strconv.FormatFloat(float64(*n), 'f', -1, 64) }
	switch {
	case lo != nil && hi != nil && *lo == *hi:
		return []string{show(lo) + unit}
	case lo != nil && hi != nil:
		return []string{show(lo) + " … " + show(hi) + unit}
	case lo != nil:
		return []string{"at least " + show(lo) + unit}
	case hi != nil:
		return []string{"at most " + show(hi) + unit}
	}
	return nil
}
