package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

const (
	maxAnswer = 512 << 20 // bytes of one answer: 1,000 tasks with payload and result
	// longest is how long one request may take: a wait of 30 s and room for the answer.
	longest = 45 * time.Second
	// repeats is how often a request that may be repeated is sent.
	repeats = 4
)

// client talks to the API.
type client struct {
	base, key, agent string
	dataDir          string
	http             *http.Client
	clock            *serverClock
	hasty            bool                                             // one try, no repeats
	pause            func(ctx context.Context, d time.Duration) error // between repeats; tests do not wait
}

func newClient(c *config.Config, version string, clock *serverClock) *client {
	return &client{
		base: c.URL, key: c.APIKey.Reveal(), agent: "taskweir/" + version, dataDir: c.DataDir, clock: clock, pause: pause,
		http: &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone(), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// request is one call.
type request struct {
	method, path string
	query        url.Values
	body         []byte
	// idempotency makes a POST safe to repeat. GETs are repeated without.
	idempotency string
	ifMatch     string // refuse unless it is still this version
	after       string // the id of the last event that was seen
	open        bool   // needs no credential
}

// apiError is an answer that is not 2xx.
type apiError struct {
	status     int
	path       string // that was asked
	problem    apiv1.Problem
	retryAfter time.Duration
	hint       string
}

// Error says what was refused, which fields are wrong and what to do.
func (e *apiError) Error() string {
	var b strings.Builder
	text := e.problem.Detail
	if text == "" {
		text = e.problem.Title
	}
	if text == "" {
		text = http.StatusText(e.status)
	}
	b.WriteString(clean(text))
	fmt.Fprintf(&b, " (%d", e.status)
	if e.problem.Code != "" {
		b.WriteString(" " + clean(e.problem.Code))
	}
	b.WriteString(")")
	for _, f := range e.problem.Errors {
		if text != f.Field+": "+f.Message { // else it is the only one, and said already
			b.WriteString("\n  " + clean(f.Field+": "+f.Message))
		}
		b.WriteString(caret(f.Place))
	}
	if e.problem.ScheduleID != 0 {
		fmt.Fprintf(&b, "\n  the other schedule: %s", e.problem.ScheduleID)
	}
	if e.problem.TaskID != 0 && !slices.Contains(strings.Split(e.path, "/"), e.problem.TaskID.String()) {
		fmt.Fprintf(&b, "\n  the other task: %s", e.problem.TaskID)
	}
	if e.problem.RequestID != "" && e.status >= 500 {
		b.WriteString("\n  in the server's log: request " + clean(e.problem.RequestID))
	}
	if e.hint != "" {
		b.WriteString("\n  " + e.hint)
	}
	return b.String()
}

// unreachable is a request that got no answer.
type unreachable struct {
	base  string
	cause error
}

// Error says what to do about it.
func (e *unreachable) Error() string {
	text := fmt.Sprintf("no answer from %s: %v", e.base, e.cause)
	if errors.Is(e.cause, syscall.ECONNREFUSED) {
		text = "nothing listens at " + e.base
	}
	return text + "\n  start it with: taskweir standalone; or name the API's address: --url or TASKWEIR_URL"
}

// Unwrap gives the cause.
func (e *unreachable) Unwrap() error { return e.cause }

// call sends a request, repeats it where that is safe, and gives the body of a 2xx answer.
func (c *client) call(ctx context.Context, r request) ([]byte, error) {
	if err := c.credential(r); err != nil {
		return nil, err
	}
	again := !c.hasty && (r.method == http.MethodGet || r.idempotency != "")
	for try := 1; ; try++ {
		body, err := c.once(ctx, r)
		wait, temporary := worthRepeating(err, try)
		if !again || !temporary || try == repeats || ctx.Err() != nil {
			return body, err
		}
		if err := c.pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// credential is an error when the request needs a key and there is none.
func (c *client) credential(r request) error {
	if r.open || c.key != "" {
		return nil
	}
	return &exitError{code: ExitCredentials, err: fmt.Errorf("no API key for %s\n  set TASKWEIR_API_KEY or TASKWEIR_API_KEY_FILE, keep one with: taskweir context set NAME --url %s\n"+
		"  or run this beside a standalone (looked into %s)", c.base, c.base, c.dataDir)}
}

// worthRepeating reports whether the same request may go better soon, and when. A refused connection is not: whoever types
// a command wants to hear at once that nothing runs.
func worthRepeating(err error, try int) (time.Duration, bool) {
	backOff := time.Duration(1<<try)*100*time.Millisecond + time.Duration(rand.IntN(100))*time.Millisecond
	var gone *unreachable
	if errors.As(err, &gone) {
		var timeout net.Error
		return backOff, !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, errNoAnswer) && !(errors.As(err, &timeout) && timeout.Timeout())
	}
	var api *apiError
	if errors.As(err, &api) && api.exitCode() == ExitUnavailable && api.problem.Code != apiv1.CodeLiveViewUnavailable {
		return min(max(api.retryAfter, backOff), 5*time.Second), true
	}
	return 0, false
}

// once sends a request once and reads the answer whole.
func (c *client) once(ctx context.Context, r request) ([]byte, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, longest, errNoAnswer)
	defer cancel()
	resp, err := c.send(bounded, r)
	if err == nil {
		defer resp.Body.Close()
		var body []byte
		if body, err = readAnswer(resp); err == nil {
			return body, nil
		}
	}
	var gone *unreachable
	if ctx.Err() != nil && errors.As(err, &gone) {
		return nil, context.Cause(ctx)
	}
	return nil, err
}

// errNoAnswer ends a request that takes too long.
var errNoAnswer = fmt.Errorf("it took longer than %v", longest)

// stream opens an answer that goes on for as long as somebody reads it. Whoever gets its body closes it.
func (c *client) stream(ctx context.Context, r request) (*http.Response, error) {
	if err := c.credential(r); err != nil {
		return nil, err
	}
	resp, err := c.send(ctx, r)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, err
	}
	return resp, nil
}

// send sends a request and gives an answer that is 2xx, its body not yet read.
func (c *client) send(ctx context.Context, r request) (*http.Response, error) {
	req, err := c.build(ctx, r)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, &unreachable{c.base, err}
	}
	c.clock.hear(resp.Header)
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	body, err := readAnswer(resp)
	if err != nil {
		return nil, err
	}
	return nil, c.refused(resp, body)
}

func (c *client) build(ctx context.Context, r request) (*http.Request, error) {
	address := c.base + r.path
	if len(r.query) > 0 {
		address += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, address, bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	h := req.Header
	h.Set("User-Agent", c.agent)
	if !r.open {
		h.Set("Authorization", "Bearer "+c.key)
	}
	if r.body != nil {
		h.Set("Content-Type", "application/json")
	}
	for name, value := range map[string]string{"If-Match": r.ifMatch, apiv1.HeaderIdempotencyKey: r.idempotency, "Last-Event-ID": r.after} {
		if value != "" {
			h.Set(name, value)
		}
	}
	return req, nil
}

// readAnswer reads a body whole.
func readAnswer(resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, &unreachable{resp.Request.URL.Scheme + "://" + resp.Request.URL.Host, err}
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("the answer is larger than %d MiB: ask for fewer tasks", maxAnswer>>20)
	}
	return body, nil
}

// refused reads an answer that is no success; it may come from a proxy and be anything.
func (c *client) refused(resp *http.Response, body []byte) error {
	e := &apiError{status: resp.StatusCode, path: resp.Request.URL.Path}
	if json.Unmarshal(body, &e.problem) != nil || e.problem.Code == "" {
		e.hint = c.base + " does not answer as Taskweir does: check the address (--url or TASKWEIR_URL)"
		if resp.StatusCode >= 300 && resp.StatusCode < 400 {
			e.hint += "; it points to " + resp.Header.Get("Location")
		}
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.retryAfter = time.Duration(min(s, 3600)) * time.Second
	}
	if e.problem.Code == "not_found" {
		e.hint = "this server does not have it: it is older than this program (taskweir version --server), or its address is another (--url or TASKWEIR_URL)"
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		e.hint = "check the API key (TASKWEIR_API_KEY, or taskweir context): not the public key of an app, not revoked\n" +
			"  somebody with an admin key makes one with: taskweir apps keys create APP --scope manage"
	case http.StatusForbidden:
		e.hint = "use an API key with a larger scope (read < submit < manage < admin)"
	case http.StatusPreconditionFailed:
		e.hint = "somebody changed it meanwhile: look at it again and repeat the command"
	case http.StatusServiceUnavailable:
		if e.problem.Code != apiv1.CodeLiveViewUnavailable {
			e.hint = "try again soon; taskweir doctor says what is wrong"
		}
	}
	return e
}

// fetch calls and decodes; the raw answer is given too, for -o json.
func fetch[T any](ctx context.Context, c *client, r request) (value T, raw []byte, err error) {
	if raw, err = c.call(ctx, r); err != nil {
		return value, nil, err
	}
	if err = json.Unmarshal(raw, &value); err != nil {
		return value, nil, fmt.Errorf("read the answer of %s%s: %w", c.base, r.path, err)
	}
	return value, raw, nil
}

func get(path string, query url.Values) request {
	return request{method: http.MethodGet, path: path, query: query}
}

func post(path string, query url.Values, body []byte) request {
	return request{method: http.MethodPost, path: path, query: query, body: body}
}
