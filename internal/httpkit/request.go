package httpkit

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/taskweir/taskweir/internal/task"
)

// Request is a request as handlers see it.
type Request struct {
	c      *gin.Context
	e      *Engine
	id     string
	in     []byte // pooled: the body
	out    []byte // pooled: for answers
	read   bool
	held   int64 // bytes of the engine's budget for large bodies
	bodyOf error
	most   int64 // limit of the body; 0: the engine's
	query  url.Values
	header http.Header // extra headers of the answer
}

const keepBuffer = 64 << 10 // larger buffers are not kept

var requests = sync.Pool{New: func() any { return &Request{in: make([]byte, 0, 4<<10), out: make([]byte, 0, 4<<10)} }}

func newRequest(c *gin.Context, e *Engine) *Request {
	r := requests.Get().(*Request)
	r.c, r.e = c, e
	return r
}

// recycle gives the buffers back; the answer is on its way.
func (r *Request) recycle(resp *Response) {
	r.e.budget.give(r.held)
	r.held = 0
	in, out := r.in, r.out
	if resp.scratch && cap(resp.Body) > cap(out) {
		out = resp.Body
	}
	if cap(in) > keepBuffer || cap(out) > keepBuffer {
		return
	}
	*r = Request{in: in[:0], out: out[:0]}
	requests.Put(r)
}

// Method is GET, POST, ….
func (r *Request) Method() string { return r.c.Request.Method }

// Path is the request's path, decoded.
func (r *Request) Path() string { return r.c.Request.URL.Path }

// Param is what stands for ":name" in the route's path.
func (r *Request) Param(name string) string { return r.c.Param(name) }

// Header is the first value of a header; empty when there is none.
func (r *Request) Header(name string) string { return r.c.Request.Header.Get(name) }

// HasHeader reports whether a header was sent, even empty.
func (r *Request) HasHeader(name string) bool { return r.c.Request.Header.Values(name) != nil }

// SetHeader sets a header of the answer, also when the answer is an error.
func (r *Request) SetHeader(name, value string) {
	if r.header == nil {
		r.header = make(http.Header, 2)
	}
	r.header.Set(name, value)
}

// Bearer is the credential of an "Authorization: Bearer" header; empty when there is none.
func (r *Request) Bearer() string {
	h := r.Header("Authorization")
	const scheme = "bearer "
	if len(h) > len(scheme) && strings.EqualFold(h[:len(scheme)], scheme) {
		return strings.TrimSpace(h[len(scheme):])
	}
	return ""
}

// RawQuery is the query string as it was sent.
func (r *Request) RawQuery() string { return r.c.Request.URL.RawQuery }

// Query gives a query parameter; ok is false when it was not given.
func (r *Request) Query(name string) (value string, ok bool) {
	if r.c.Request.URL.RawQuery == "" {
		return "", false
	}
	if r.query == nil {
		r.query = r.c.Request.URL.Query()
	}
	v, ok := r.query[name]
	if !ok {
		return "", false
	}
	return v[0], true
}

// OnlyQuery refuses query parameters that a route does not know, and those given twice.
func (r *Request) OnlyQuery(names ...string) error {
	raw := r.c.Request.URL.RawQuery
	if raw == "" {
		return nil
	}
	q, err := url.ParseQuery(raw)
	if err != nil {
		return &task.Error{Kind: task.Malformed, Code: "malformed", Message: "the query string is not well formed"}
	}
	r.query = q
	for name, v := range q {
		if !slices.Contains(names, name) {
			return task.InvalidField(clip(name), "unknown_parameter", "is not a parameter of this request")
		}
		if len(v) > 1 {
			return task.InvalidField(name, "duplicate", "is given more than once")
		}
	}
	return nil
}

func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}

var (
	errBodySize = &task.Error{Kind: task.TooLarge, Code: "request_too_large", Message: "the request body is too large"}
	errBodyBusy = &task.Error{Kind: task.Unavailable, Code: "overloaded", Message: "too many large requests at once", RetryAfter: time.Second}
	errBodyRead = &task.Error{Kind: task.Malformed, Code: "malformed", Message: "the request body could not be read"}
)

// Body reads the whole body, within the engine's limit. It is valid until the handler returns. Errors are TooLarge and
// Malformed.
func (r *Request) Body() ([]byte, error) {
	if !r.read {
		r.read = true
		r.bodyOf = r.readBody()
	}
	return r.in, r.bodyOf
}

func (r *Request) readBody() error {
	n := r.c.Request.ContentLength
	if n == 0 || r.c.Request.Body == nil {
		return nil
	}
	limit := r.e.maxBody
	if r.most > 0 {
		limit = min(limit, r.most)
	}
	if n > limit {
		return r.refuseBody()
	}
	// Memory and budget follow what arrives, not what is announced: an announcement costs a client nothing.
	most := n
	src := io.Reader(r.c.Request.Body)
	if n > 0 {
		r.in = slices.Grow(r.in, int(min(n+1, keepBuffer)))
	} else {
		most = limit
		src = http.MaxBytesReader(r.c.Writer, r.c.Request.Body, most)
	}
	for {
		if have := int64(len(r.in)); have == int64(cap(r.in)) {
			next := min(max(2*have, 4<<10), most)
			if !r.hold(next) {
				return errBodyBusy
			}
			r.in = slices.Grow(r.in, int(max(next-have, 0))+1) // one more to see the end without another round
		}
		m, err := src.Read(r.in[len(r.in):cap(r.in)])
		r.in = r.in[:len(r.in)+m]
		if err == io.EOF {
			return nil
		}
		if err != nil {
			if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
				return r.refuseBody()
			}
			return errBodyRead
		}
	}
}

// maxRefused is how much is read on of what is too large.
const maxRefused = 16 << 20

// refuseBody refuses a body that is too large. What still comes is read and forgotten first: a client that is sending when the
// connection ends sees that it was reset, and not the answer. One that asked whether to send hears it at once.
func (r *Request) refuseBody() error {
	if r.Header("Expect") == "" {
		_, _ = io.CopyN(io.Discard, r.c.Request.Body, maxRefused)
	}
	return errBodySize
}

// hold takes what a body of n bytes costs from the engine's budget. Small ones cost nothing: their number is bounded by
// that of the connections.
func (r *Request) hold(n int64) bool {
	if n <= keepBuffer || n <= r.held {
		return true
	}
	if !r.e.budget.take(n - r.held) {
		return false
	}
	r.held = n
	return true
}

// LimitBody lowers the limit of the body's size for this request, in bytes. To be called before Body.
func (r *Request) LimitBody(most int64) { r.most = most }

// JSON reads the body as one JSON value through fn. The error is a syntax error; broken rules are in the scanner.
func (r *Request) JSON(fn func(s *Scanner)) (*Scanner, error) {
	b, err := r.Body()
	if err != nil {
		return nil, err
	}
	s := NewScanner(b)
	fn(s)
	return s, s.End()
}

// Scratch is a buffer to append an answer's body to.
func (r *Request) Scratch() []byte { return r.out[:0] }

// ID names the request in answers and logs: the client's X-Request-Id when it is sane, else one of our own.
func (r *Request) ID() string {
	if r.id == "" {
		if r.id = r.Header("X-Request-Id"); !saneID(r.id) {
			r.id = r.e.ids.next()
		}
	}
	return r.id
}

func saneID(s string) bool {
	if len(s) < 1 || len(s) > 128 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// requestIDs gives ids that are unique among processes: random per process, then counted.
type requestIDs struct {
	prefix string
	n      *atomic.Uint64
}

func newRequestIDs() requestIDs {
	var raw [6]byte
	rand.Read(raw[:]) // never fails
	return requestIDs{prefix: hex.EncodeToString(raw[:]) + "-", n: new(atomic.Uint64)}
}

func (g requestIDs) next() string {
	buf := make([]byte, 0, 32)
	return string(strconv.AppendUint(append(buf, g.prefix...), g.n.Add(1), 10))
}
