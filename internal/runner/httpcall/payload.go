package httpcall

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/taskweir/taskweir/internal/runner/payload"
	"github.com/taskweir/taskweir/internal/task"
)

// Limits of a request that a payload describes.
const (
	maxURL     = 8 << 10
	maxHeaders = 64
	maxHeader  = 8 << 10 // bytes of one value
	maxName    = 256     // bytes of one name
)

// spec is a payload of kind http.
type spec struct {
	URL     string            `json:"url"`
	Method  string            `json:"method"`
	Headers map[string]string `json:"headers"`
	Body    json.RawMessage   `json:"body"`
}

var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// refusedHeaders belong to the connection, to the transport or to Taskweir.
var refusedHeaders = []string{
	"Connection", "Content-Length", "Expect", "Host", "Http2-Settings", "Idempotency-Key", "Keep-Alive", "Proxy-Authenticate",
	"Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// CheckHTTP finds what is wrong with a payload of kind http; the fields are paths within it. Nil: nothing.
func CheckHTTP(raw []byte) []task.FieldError {
	var p spec
	if wrong := payload.Decode(raw, &p); wrong != nil {
		return []task.FieldError{*wrong}
	}
	out := p.check()
	if _, wrong := parseURL(p.URL); wrong != nil {
		out = append(out, *wrong)
	}
	slices.SortFunc(out, func(a, b task.FieldError) int { return strings.Compare(a.Field, b.Field) })
	return out
}

// CheckCallback accepts every payload.
func CheckCallback([]byte) []task.FieldError { return nil }

// check looks at every field but the URL.
func (p *spec) check() []task.FieldError {
	var out []task.FieldError
	if p.Method == "" {
		p.Method = http.MethodPost
	}
	if !slices.Contains(methods, p.Method) {
		out = append(out, task.FieldError{Field: "method", Rule: "one_of", Message: "must be one of " + strings.Join(methods, ", ")})
	}
	if len(p.Headers) > maxHeaders {
		out = append(out, task.FieldError{Field: "headers", Rule: "max_length", Message: fmt.Sprintf("must be at most %d", maxHeaders)})
		return out
	}
	out = append(out, p.checkHeaders()...)
	if len(p.Body) > 0 && (p.Method == http.MethodGet || p.Method == http.MethodHead) {
		out = append(out, task.FieldError{Field: "body", Rule: "conflict", Message: "must not be given with GET or HEAD"})
	}
	return out
}

func (p *spec) checkHeaders() []task.FieldError {
	if len(p.Headers) == 0 {
		return nil
	}
	var out []task.FieldError
	seen := make(map[string]bool, len(p.Headers))
	for _, name := range slices.Sorted(maps.Keys(p.Headers)) {
		rule, message := checkHeader(name, p.Headers[name])
		canonical := http.CanonicalHeaderKey(name)
		if rule == "" && seen[canonical] {
			rule, message = "duplicate", "is given twice, in another spelling"
		}
		seen[canonical] = true
		if rule != "" {
			out = append(out, task.FieldError{Field: "headers." + shorten(name), Rule: rule, Message: message})
		}
	}
	return out
}

func parseURL(text string) (*url.URL, *task.FieldError) {
	wrong := func(rule, message string) (*url.URL, *task.FieldError) {
		return nil, &task.FieldError{Field: "url", Rule: rule, Message: message}
	}
	if text == "" {
		return wrong("required", "is required")
	}
	if len(text) > maxURL {
		return wrong("max_length", fmt.Sprintf("must be at most %d bytes", maxURL))
	}
	u, err := url.Parse(text)
	if err != nil {
		return wrong("pattern", "is not a URL")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return wrong("one_of", "must be http or https")
	}
	if u.Hostname() == "" {
		return wrong("pattern", "has no host")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return wrong("pattern", "has a port that does not exist")
		}
	}
	return u, nil
}

// shorten keeps the name of a field within what fits into an answer.
func shorten(name string) string {
	if len(name) <= maxName {
		return name
	}
	return strings.ToValidUTF8(name[:maxName], "") + "…"
}

func checkHeader(name, value string) (rule, message string) {
	if name == "" || len(name) > maxName || strings.IndexFunc(name, func(r rune) bool { return !tokenRune(r) }) >= 0 {
		return "pattern", "is not the name of a header"
	}
	canonical := http.CanonicalHeaderKey(name)
	if slices.Contains(refusedHeaders, canonical) || strings.HasPrefix(canonical, "Taskweir-") || strings.HasPrefix(canonical, "Webhook-") {
		return "not_allowed", "must not be set"
	}
	if len(value) > maxHeader {
		return "max_length", fmt.Sprintf("must be at most %d bytes", maxHeader)
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return "pattern", "holds a control character"
		}
	}
	return "", ""
}

// tokenRune reports whether r may be in a token (RFC 9110, 5.6.2).
func tokenRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r < 0x7f && strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// content gives the bytes to send and their type: a string as it is, any other value as compact JSON.
func (p *spec) content() (body []byte, contentType string, err error) {
	if len(p.Body) == 0 {
		return nil, "", nil
	}
	if p.Body[0] == '"' {
		var text string
		if err := json.Unmarshal(p.Body, &text); err != nil {
			return nil, "", fmt.Errorf("body: %w", err)
		}
		return []byte(text), "text/plain; charset=utf-8", nil
	}
	if !slices.ContainsFunc(p.Body, blank) {
		return p.Body, "application/json", nil
	}
	var out bytes.Buffer
	out.Grow(len(p.Body))
	if err := json.Compact(&out, p.Body); err != nil {
		return nil, "", fmt.Errorf("body: %w", err)
	}
	return out.Bytes(), "application/json", nil
}
