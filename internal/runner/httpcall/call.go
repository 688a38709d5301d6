// Package httpcall runs the kinds http and callback: one HTTP request per attempt, through the guarded transport.
//
// http sends what its payload describes. callback POSTs its payload to the app's callback URL, signed as Standard Webhooks
// say, with the task as webhook id: it stays the same over retries, so that a receiver can drop repetitions.
//
// Both send the task's id, the attempt's epoch and id and an idempotency key, which no payload can set. The epoch is what fences: a receiver that
// remembers the highest one it saw can refuse an effect of an attempt that was overtaken.
//
// 2xx is success. 4xx except 408, 425 and 429 is permanent; everything else may be tried again, not before Retry-After
// (at most an hour).
package httpcall

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/metrics"
	"github.com/taskweir/taskweir/internal/outbound"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

// maxRetryAfter caps what a server may ask for.
const maxRetryAfter = time.Hour

// Doer sends a request; *outbound.Client is the one that is used.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// Clock is the database's clock, for timestamps of signatures and dates of Retry-After.
type Clock interface{ Now() int64 }

// Options are what both runners need.
type Options struct {
	Client    Doer
	Clock     Clock
	Metrics   *metrics.Set
	UserAgent string // "Taskweir"
	Gate      *Gate  // shared by all runners of a process; nil: one of this runner's own
	Tracer    Tracer // nil: calls are not traced
}

// Tracer opens the span of a call and adds a traceparent to its headers, unless they have one. end takes the status, 0 when no answer
// came, and the code of what went wrong.
type Tracer interface {
	Call(ctx context.Context, method string, u *url.URL, h http.Header) (_ context.Context, end func(status int, code string))
}

// caller makes one call and reads its answer.
type caller struct {
	Options
	agent []string
}

func newCaller(o Options) caller {
	if o.UserAgent == "" {
		o.UserAgent = "Taskweir"
	}
	if o.Gate == nil {
		o.Gate = NewGate(GateOptions{Metrics: o.Metrics})
	}
	return caller{Options: o, agent: []string{o.UserAgent}}
}

// identify adds the headers that say which attempt of which task this is. Values share one array; keys are canonical.
func (c *caller) identify(h http.Header, job *worker.Job) {
	id := strconv.FormatInt(job.TaskID, 10)
	v := [3]string{id, strconv.FormatInt(int64(job.Epoch), 10), strconv.FormatInt(job.AttemptID, 10)}
	h["User-Agent"] = c.agent
	h["Taskweir-Task-Id"] = v[0:1:1]
	h["Taskweir-Epoch"] = v[1:2:2]
	h["Taskweir-Attempt"] = v[2:3:3]
	h["Idempotency-Key"] = v[0:1:1]
}

// request is one call on its way.
type request struct {
	method string
	url    *url.URL
	header http.Header
	body   []byte // may be nil
	legacy bool   // of a surface: see Gate
	keep   bool   // a first success is kept for inspection too
	secret string // a value that no header may be shown with
}

// traced is exchange within a span of its own.
func (c *caller) traced(ctx context.Context, r *request) Answer {
	if c.Tracer == nil {
		return c.exchange(ctx, r)
	}
	ctx, end := c.Tracer.Call(ctx, r.method, r.url, r.header)
	a := c.exchange(ctx, r)
	end(a.Status, a.Code)
	return a
}

// exchange makes the call and reads its answer.
func (c *caller) exchange(ctx context.Context, r *request) Answer {
	req := &http.Request{
		Method: r.method, URL: r.url, Host: r.url.Host, Header: r.header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if body := r.body; len(body) > 0 {
		req.ContentLength = int64(len(body))
		req.Body = outbound.NewWhole(body)
		req.GetBody = func() (io.ReadCloser, error) { return outbound.NewWhole(body), nil }
	} else {
		req.Body, req.GetBody = http.NoBody, func() (io.ReadCloser, error) { return http.NoBody, nil }
	}
	resp, err := c.Client.Do(req.WithContext(ctx))
	if err != nil {
		return unreached(ctx, err)
	}
	return c.read(ctx, resp)
}

// send makes a call, lets judge say what its answer means, and counts it.
func (c *caller) send(ctx context.Context, job *worker.Job, r *request, judge func(*Answer) task.Result) task.Result {
	p, no := c.Gate.endpoint(keyOf(job.AppID, r.url)).enter(ctx, !r.legacy || c.Gate.o.Legacy)
	if no != nil {
		return no.result()
	}
	a := c.traced(ctx, r)
	v, quietMs := sentence(ctx, &a)
	took := p.leave(v, quietMs)
	res := judge(&a)
	complete(&res, &a)
	c.Metrics.Callback(outcome(res), took)
	if res.Outcome != task.OutcomeSucceeded || res.AwaitMs > 0 || job.Epoch > 1 || r.keep {
		res.Delivery, res.Keep = describe(r, &a, took), r.keep
	}
	return res
}

// sentence is what an answer says of its endpoint, and the pause that it asked for.
func sentence(ctx context.Context, a *Answer) (v verdict, quietMs int64) {
	switch {
	case a.Code == codeRefused:
		return nothing, 0
	case a.Code == codeInterrupted && context.Cause(ctx) != worker.ErrTimeout:
		return nothing, 0
	case a.Code != "":
		return failing, 0
	case a.RetryAfterMs > 0 && (a.Status == http.StatusTooManyRequests || a.Status == http.StatusServiceUnavailable):
		return nothing, a.RetryAfterMs
	case a.Status >= 500 || a.Status == http.StatusTooManyRequests:
		return failing, 0
	}
	return alive, 0
}

// complete fills in what a dialect left out.
func complete(res *task.Result, a *Answer) {
	if res.HTTPStatus == 0 {
		res.HTTPStatus = int16(a.Status)
	}
	if res.Outcome != task.OutcomeFailed {
		return
	}
	if res.ErrCode == "" {
		if res.ErrCode = a.Code; a.Code == "" {
			res.ErrCode = "http_" + strconv.Itoa(a.Status)
		}
	}
	if res.ErrMessage == "" {
		if res.ErrMessage = a.Message; a.Code == "" {
			res.ErrMessage = errorText(a.Status, a.Body)
		}
	}
}

// judge says what an answer means by the native rules.
func judge(a *Answer) task.Result {
	switch {
	case a.Status >= 200 && a.Status <= 299 && a.Code == "":
		res := task.Result{Outcome: task.OutcomeSucceeded, HTTPStatus: int16(a.Status), Body: a.Body, Truncated: a.Truncated}
		if a.Status == http.StatusAccepted {
			res.AwaitMs = completeWithin(a.Header)
		}
		return res
	case a.Code != "":
		return a.Failed()
	}
	res := task.Result{
		Outcome: task.OutcomeFailed, HTTPStatus: int16(a.Status), Permanent: permanent(a.Status),
		ErrCode: "http_" + strconv.Itoa(a.Status), ErrMessage: errorText(a.Status, a.Body),
	}
	if !res.Permanent {
		res.RetryAfterMs = a.RetryAfterMs
	}
	return res
}

// outcome is the metric's label.
func outcome(r task.Result) string {
	switch {
	case r.Outcome == task.OutcomeSucceeded:
		return "ok"
	case r.ErrCode == codeRefused:
		return "refused"
	case r.Permanent:
		return "permanent"
	}
	return "retryable"
}

const (
	codeRefused     = "address_refused"
	codeInterrupted = "interrupted"
)

// unreached classifies a call that got no answer.
func unreached(ctx context.Context, err error) Answer {
	a := Answer{Code: "connection_failed", Message: err.Error()}
	var refused *outbound.Refused
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &refused):
		a.Code, a.Permanent, a.Message = codeRefused, true, refused.Error()
	case ctx.Err() != nil:
		a.Code, a.Message = codeInterrupted, "the call was interrupted"
	case errors.As(err, &dns):
		// Not the error's own text: that names the resolver.
		a.Code, a.Message = "name_not_resolved", "the name "+dns.Name+" was not resolved: "+dns.Err
	case errors.As(err, &cert):
		a.Code = "certificate_refused"
	}
	return a
}

// read takes what an answer says. An error answer keeps its first 2 KiB, or what came of them.
func (c *caller) read(ctx context.Context, resp *http.Response) Answer {
	defer func() { _ = resp.Body.Close() }()
	a := Answer{Status: resp.StatusCode, Header: resp.Header}
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		body, cut, err := readUpTo(resp, task.MaxResult)
		if err != nil {
			bad := unreached(ctx, err)
			bad.Status, bad.Header, bad.Body = a.Status, a.Header, body
			return bad
		}
		a.Body, a.Truncated = body, cut
		return a
	}
	if resp.StatusCode >= 200 { // 101 has no body but the raw connection
		a.Body, a.Truncated, _ = readUpTo(resp, task.MaxErrorText)
	}
	if text := resp.Header.Get("Retry-After"); text != "" {
		a.RetryAfterMs = retryAfter(text, c.Clock.Now())
	}
	return a
}

// permanent reports whether no retry can help.
func permanent(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status >= 400 && status <= 499
}

// errorText is the answer's text, or the status where there is none.
func errorText(status int, body []byte) string {
	text := strings.TrimSpace(strings.ToValidUTF8(strings.ReplaceAll(string(body), "\x00", ""), "\uFFFD"))
	if text == "" {
		return "answered " + strconv.Itoa(status) + " " + http.StatusText(status)
	}
	if len(text) > task.MaxErrorText {
		text = strings.ToValidUTF8(text[:task.MaxErrorText], "")
	}
	return text
}

// scratch are buffers for bodies whose length is not known before.
var scratch = sync.Pool{New: func() any { b := make([]byte, task.MaxResult+1); return &b }}

// readUpTo reads at most limit bytes of a body; nil when it is empty. With an error it gives what came before it. What is
// beyond the limit is not read, not even to use the connection again: a server that dribbles would hold the task up.
func readUpTo(resp *http.Response, limit int) (body []byte, cut bool, err error) {
	if resp.ContentLength == 0 || resp.Body == http.NoBody {
		return nil, false, nil
	}
	if w, ok := resp.Body.(*outbound.Whole); ok {
		body = w.Bytes()
		return body[:min(len(body), limit)], len(body) > limit, nil
	}
	if n := resp.ContentLength; n > 0 && n <= int64(limit) {
		body = make([]byte, n)
		got, err := io.ReadFull(resp.Body, body)
		return body[:got], false, err
	}
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	n, err := fill((*buf)[:limit+1], resp.Body)
	if n > limit {
		n, cut, err = limit, true, nil
	}
	return append([]byte(nil), (*buf)[:n]...), cut, err
}

// fill reads until buf is full or the body ends. io.ReadFull would not tell a body that ended from one that broke: both are
// io.ErrUnexpectedEOF there.
func fill(buf []byte, body io.Reader) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = body.Read(buf[n:])
		n += m
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// retryAfter reads a Retry-After header: seconds or a date. 0: none, or not readable.
func retryAfter(text string, nowMs int64) int64 {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0
	}
	most := maxRetryAfter.Milliseconds()
	if allDigits(text) {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n > most/1_000 {
			return most
		}
		return n * 1_000
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(0, at.UnixMilli()-nowMs), most)
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
