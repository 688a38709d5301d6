package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// maxAnswer bounds one answer; the server's own bounds are well below.
const maxAnswer = 128 << 20

var errTooLarge = errors.New("the answer is larger than 128 MiB")

// timeoutError is a try that took too long. It is no context.DeadlineExceeded: the caller's context has not ended.
type timeoutError struct{}

// Error says so.
func (timeoutError) Error() string { return "it took too long" }

// Timeout makes it a timeout for os.IsTimeout and net.Error.
func (timeoutError) Timeout() bool { return true }

// Temporary belongs to net.Error.
func (timeoutError) Temporary() bool { return true }

var errTimeout error = timeoutError{}

// request is one logical call; it may be sent several times.
type request struct {
	method, path string // the path's segments are escaped
	query        url.Values
	body         []byte
	app          bool // takes ?app=
	repeat       repeat
	takesKey     bool
	key          string // Idempotency-Key
	ifMatch      string
	ifNoneMatch  string
	wait         time.Duration // what the server is asked to wait before it answers
	open         bool          // /healthz and the like: no credential
	accept       string        // default JSON
	lastEventID  string        // of a stream that goes on
	gone         bool          // a DELETE: not found after a try that may have been carried out is success
	again        bool          // a stream that was open before: also what is gone for longer is waited for
	meta         *Response
}

// CallOption changes one call. Every method that calls the server takes some, last; those that submit take SubmitOptions
// beside them.
type CallOption func(*request)

// IdempotencyKey makes a submit, a retry with another payload, a new or triggered schedule, a backfill safe to repeat also across
// restarts of your program: for 24 h the same key and request give what the first made, another request is refused with a
// conflict. 1–255 bytes, per app; choose one that belongs to the cause, such as "order-17-confirmation". Without this option the client
// makes one for each call. Calls that make nothing ignore it.
func IdempotencyKey(key string) CallOption {
	return func(r *request) {
		if r.takesKey {
			r.key, r.repeat = key, twiceIsOnce
		}
	}
}

// IfMatch carries a change out only while the thing is still as it was read, when its ETag was this (Response.ETag); else the
// error is ErrPrecondition. Schedules and apps honour it.
func IfMatch(etag string) CallOption { return func(r *request) { r.ifMatch = etag } }

// IfVersion is IfMatch for schedules: only while Schedule.Version is this.
func IfVersion(version int64) CallOption {
	return IfMatch(`"` + strconv.FormatInt(version, 10) + `"`)
}

// IfNoneMatch reads only what has changed since its ETag was this (Response.ETag); else the error is ErrNotModified.
func IfNoneMatch(etag string) CallOption { return func(r *request) { r.ifNoneMatch = etag } }

// WithoutKey sends no API key, for routes that need none.
func WithoutKey() CallOption { return func(r *request) { r.open = true } }

// Capture keeps what the server answered, besides the value that the method gives. Methods that send several requests leave that of the
// last.
func Capture(into *Response) CallOption { return func(r *request) { r.meta = into } }

// Response is an answer of the server.
type Response struct {
	StatusCode int
	Header     http.Header
	Body       []byte // as it came; nil for streams
	Tries      int    // how often the request was sent
}

// ETag names the version of the thing that was read; "" where there is none.
func (r *Response) ETag() string { return r.Header.Get("ETag") }

// Replayed reports whether the answer is that to an earlier request with the same Idempotency-Key.
func (r *Response) Replayed() bool { return r.Header.Get(apiv1.HeaderReplayed) == "true" }

// RequestID finds the request in the server's log.
func (r *Response) RequestID() string { return r.Header.Get("X-Request-Id") }

// to makes a request; args are segments of the path, put in place of each %s.
func to(method, path string, args ...string) *request {
	escaped := make([]any, len(args))
	for i, a := range args {
		escaped[i] = segment(a)
	}
	return &request{method: method, path: fmt.Sprintf(path, escaped...), query: url.Values{}}
}

// segment escapes a segment of a path. "." and ".." would be taken for directions.
func segment(s string) string {
	switch s {
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	}
	return url.PathEscape(s)
}

func get(path string, args ...string) *request  { return to(http.MethodGet, path, args...) }
func post(path string, args ...string) *request { return to(http.MethodPost, path, args...) }
func put(path string, args ...string) *request  { return to(http.MethodPut, path, args...) }

// once marks a request that does more when it is done twice.
func (r *request) once() *request {
	r.repeat = twiceIsTwice
	return r
}

// keyed gives the request an Idempotency-Key.
func (r *request) keyed() *request {
	r.takesKey, r.key = true, rand.Text()
	return r
}

// inApp marks a request that takes ?app=.
func (r *request) inApp() *request {
	r.app = true
	return r
}

// with sets a query parameter unless it is empty.
func (r *request) with(name, value string) *request {
	if value != "" {
		r.query.Set(name, value)
	}
	return r
}

// json sets the body; only types of apiv1 that cannot fail go in here.
func (r *request) json(v any) (*request, error) {
	raw, err := encode(v)
	if err != nil {
		return nil, fmt.Errorf("taskweir: %s %s: %w: %w", r.method, r.path, ErrInvalid, err)
	}
	r.body = raw
	return r, nil
}

// encode is json.Marshal that leaves <, > and & alone.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// url is the address of the request; app is the client's.
func (r *request) url(base, app string) string {
	q := r.query
	if r.app && app != "" {
		q.Set("app", app)
	}
	if len(q) == 0 {
		return base + r.path
	}
	return base + r.path + "?" + q.Encode()
}

// call sends a request, repeats it where that is safe, and gives a 2xx answer.
func (c *Client) call(ctx context.Context, r *request, opts ...CallOption) (*Response, error) {
	for _, o := range opts {
		o(r)
	}
	resp, err := c.send(ctx, r)
	if r.meta != nil && resp != nil {
		*r.meta = *resp
	}
	return resp, err
}

func (c *Client) send(ctx context.Context, r *request) (*Response, error) {
	core, began, uncertain := c.core, time.Now(), false
	for try := 1; ; try++ {
		resp, err := c.try(ctx, r)
		if resp != nil {
			resp.Tries = try
		}
		if err == nil {
			core.budget.refill()
			return resp, nil
		}
		if r.gone && uncertain && IsNotFound(err) {
			return resp, nil
		}
		noteTries(err, try, uncertain)
		after, again := r.worthRepeating(err)
		wait := max(after, core.policy.backOff(try))
		if !again || try >= core.policy.Tries || time.Since(began)+wait > core.policy.Elapsed || ctx.Err() != nil ||
			core.policy.GiveUp != nil && core.policy.GiveUp(err) || !core.budget.take() {
			return resp, err
		}
		uncertain = uncertain || maybeDone(err)
		if core.pause(ctx, wait) != nil {
			return resp, c.noAnswer(r, ended(ctx), try, uncertain)
		}
	}
}

// noteTries tells the error of a try about those before it.
func noteTries(err error, n int, uncertain bool) {
	if e, ok := errors.AsType[*Error](err); ok {
		e.Tries = n
	} else if e, ok := errors.AsType[*NoAnswerError](err); ok {
		e.Tries, e.MaybeDone = n, e.MaybeDone || uncertain
	}
}

func maybeDone(err error) bool {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.MaybeDone()
	}
	e, ok := errors.AsType[*NoAnswerError](err)
	return ok && e.MaybeDone
}

func (c *Client) noAnswer(r *request, cause error, tries int, maybeDone bool) *NoAnswerError {
	return &NoAnswerError{Method: r.method, URL: c.core.base + r.path, Cause: cause, Tries: tries, MaybeDone: maybeDone, IdempotencyKey: r.key}
}

// try sends a request once and reads all of its answer.
func (c *Client) try(ctx context.Context, r *request) (*Response, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.core.timeout+r.wait, errTimeout)
	defer cancel()
	res, sent, err := c.open(ctx, r)
	if err != nil {
		return nil, c.noAnswer(r, err, 1, sent)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, c.noAnswer(r, because(ctx, err), 1, true)
	case len(body) > maxAnswer:
		return nil, c.noAnswer(r, errTooLarge, 1, true)
	}
	resp := &Response{StatusCode: res.StatusCode, Header: res.Header, Body: body}
	switch {
	case res.StatusCode == http.StatusNotModified && r.ifNoneMatch != "":
		return resp, fmt.Errorf("taskweir: %s %s: %w", r.method, r.path, ErrNotModified)
	case res.StatusCode < 200 || res.StatusCode > 299:
		return resp, refusal(r, resp)
	}
	return resp, nil
}

// open sends a request and gives the answer's head; sent is whether the server may have got it.
func (c *Client) open(ctx context.Context, r *request) (res *http.Response, sent bool, err error) {
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	req, err := http.NewRequestWithContext(traced, r.method, r.url(c.core.base, c.app), bytes.NewReader(r.body))
	if err != nil {
		return nil, false, err
	}
	c.headers(req, r)
	res, err = c.core.http.Do(req)
	if err != nil {
		if res != nil {
			res.Body.Close() // a refused redirect
		}
		return nil, connected.Load(), because(ctx, err)
	}
	return res, true, nil
}

func (c *Client) headers(req *http.Request, r *request) {
	if !r.open {
		c.core.authorize(req)
	}
	h := req.Header
	h.Set("User-Agent", c.core.agent)
	if h.Set("Accept", "application/json"); r.accept != "" {
		h.Set("Accept", r.accept)
	}
	if r.body != nil {
		h.Set("Content-Type", "application/json")
	}
	for name, value := range map[string]string{apiv1.HeaderIdempotencyKey: r.key, "If-Match": r.ifMatch, "If-None-Match": r.ifNoneMatch,
		"Last-Event-ID": r.lastEventID} {
		if value != "" {
			h.Set(name, value)
		}
	}
}

// because is the cause of a failed exchange, without the address that url.Error repeats.
func because(ctx context.Context, err error) error {
	if context.Cause(ctx) == errTimeout {
		return errTimeout
	}
	if ctx.Err() != nil {
		return ended(ctx)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// refusal reads an answer that is no success; it may come from a proxy and be anything.
func refusal(r *request, resp *Response) *Error {
	e := &Error{StatusCode: resp.StatusCode, Method: r.method, Path: r.path, Tries: 1, IdempotencyKey: r.key, RetryAfter: retryAfter(resp.Header)}
	if json.Unmarshal(resp.Body, &e.Problem) != nil || e.Problem.Code == "" {
		e.Problem = apiv1.Problem{Title: http.StatusText(resp.StatusCode), Status: resp.StatusCode}
		if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") {
			e.Problem.Detail = "the answer is not Taskweir's: is the address right, does something stand before it?"
			if to := resp.Header.Get("Location"); to != "" {
				e.Problem.Detail = "it points to " + to
			}
		}
	}
	return e
}

// retryAfter reads seconds, or a date by the clock of whoever answered.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if s, err := strconv.Atoi(v); err == nil {
		return time.Duration(min(max(s, 0), 24*3600)) * time.Second
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), 24*time.Hour)
}

// fetch calls and decodes. Members that the client does not know are ignored: a newer server may have more.
func fetch[T any](ctx context.Context, c *Client, r *request, opts []CallOption) (*T, error) {
	resp, err := c.call(ctx, r, opts...)
	if err != nil {
		return nil, err
	}
	return decode[T](r, resp)
}

func decode[T any](r *request, resp *Response) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(resp.Body, v); err != nil {
		return nil, fmt.Errorf("taskweir: %s %s: the answer is not Taskweir's: %w", r.method, r.path, err)
	}
	return v, nil
}
