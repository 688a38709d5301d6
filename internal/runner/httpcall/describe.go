package httpcall

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// Limits of what is kept of a call for inspection.
const (
	keptBody    = 1 << 10
	keptHeaders = 30
	keptValue   = 256
	keptName    = 64
)

// hidden stands for a value that is a secret, or may be one.
const hidden = "…"

// Names of headers whose values open doors, as parts of them, in lower case. Signatures are shown: they hold for one body and minutes,
// and are what people compare.
var (
	secretParts = []string{"auth", "cookie", "key", "secret", "passw", "token", "session", "credential", "jwt"}
	openNames   = []string{"Idempotency-Key", "App-Key", "Www-Authenticate", "Proxy-Authenticate"}
	urlNames    = []string{"Location", "Content-Location", "Referer"}
)

// describe is a call as people see it, as JSON: method, URL without name, password and query values, headers without secrets, the first
// KiB of both bodies, status and duration.
func describe(r *request, a *Answer, took time.Duration) []byte {
	d := task.Delivery{
		Method: r.method, URL: showURL(r.url), RequestHeaders: showHeader(r.header, r.secret), RequestBody: showBody(r.body), RequestBytes: len(r.body),
		Status: a.Status, ResponseHeaders: showHeader(a.Header, r.secret), ResponseBody: showBody(a.Body), DurationMs: took.Milliseconds(), Error: cut(a.Message, keptBody),
	}
	for {
		out, err := json.Marshal(d)
		if err != nil { // strings and numbers
			return nil
		}
		if len(out) <= task.MaxDelivery {
			return out
		}
		// Long headers of characters that JSON writes with six: without them the rest fits.
		d.RequestHeaders, d.ResponseHeaders = d.RequestHeaders[:len(d.RequestHeaders)/2], d.ResponseHeaders[:len(d.ResponseHeaders)/2]
	}
}

// showURL hides what often is a credential: name, password and the values of the query.
func showURL(u *url.URL) string {
	shown := *u
	shown.User, shown.Fragment = nil, ""
	if u.RawQuery != "" {
		var names []string
		for _, pair := range strings.Split(u.RawQuery, "&") {
			name, _, _ := strings.Cut(pair, "=")
			names = append(names, name+"="+hidden)
		}
		shown.RawQuery = strings.Join(names, "&")
	}
	return cut(shown.String(), 4*keptValue)
}

// showHeader lists headers by name. secret, if any, is hidden wherever it stands.
func showHeader(h http.Header, secret string) (out [][2]string) {
	for name, values := range h {
		for _, v := range values {
			v = showValue(name, v)
			if secret != "" {
				v = strings.ReplaceAll(v, secret, hidden)
			}
			out = append(out, [2]string{cut(name, keptName), cut(v, keptValue)})
		}
	}
	slices.SortFunc(out, func(a, b [2]string) int {
		if c := strings.Compare(a[0], b[0]); c != 0 {
			return c
		}
		return strings.Compare(a[1], b[1])
	})
	return out[:min(len(out), keptHeaders)]
}

// showValue hides what is a credential, or may be one.
func showValue(name, v string) string {
	name = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
	switch {
	case slices.Contains(openNames, name):
		return v
	case slices.Contains(urlNames, name):
		u, err := url.Parse(v)
		if err != nil {
			return hidden
		}
		return showURL(u)
	}
	name = strings.ToLower(name)
	if slices.ContainsFunc(secretParts, func(part string) bool { return strings.Contains(name, part) }) {
		return hidden
	}
	return v
}

func showBody(b []byte) string { return cut(string(b[:min(len(b), keptBody+1)]), keptBody) }

// cut keeps a text short and valid.
func cut(s string, most int) string {
	if len(s) > most {
		s = s[:most] + hidden
	}
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
}
