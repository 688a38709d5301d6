package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/pkg/apiv1"
	sdk "github.com/taskweir/taskweir/pkg/client"
)

const (
	// longest is how long one request may take: a wait of 30 s and room for the answer.
	longest = 45 * time.Second
	// repeats is how often a request that may be repeated is sent.
	repeats = 4
	// patience is how long a command repeats a request.
	patience = 20 * time.Second
)

// client talks to the API with pkg/client, and says in the errors what whoever types a command can do.
type client struct {
	base, key string
	dataDir   string
	api       *sdk.Client
	wrong     error // why there is no api
	options   []sdk.Option
	http      *http.Client
	clock     *serverClock
	hasty     bool                                             // one try, no repeats
	pause     func(ctx context.Context, d time.Duration) error // between repeats; tests do not wait
}

// listening tells the clock of each answer.
type listening struct {
	*http.Transport
	clock *serverClock
}

// RoundTrip is one exchange.
func (l listening) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.Transport.RoundTrip(r)
	if err == nil {
		l.clock.hear(resp.Header)
	}
	return resp, err
}

func newClient(cfg *config.Config, version string, clock *serverClock) *client {
	c := &client{base: cfg.URL, key: cfg.APIKey.Reveal(), dataDir: cfg.DataDir, clock: clock, pause: pause}
	c.http = &http.Client{
		Transport:     listening{http.DefaultTransport.(*http.Transport).Clone(), clock},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.options = []sdk.Option{sdk.Anonymous(), sdk.WithHTTPClient(c.http), sdk.WithUserAgent("taskweir/" + version), sdk.WithTimeout(longest)}
	c.api, c.wrong = sdk.New(c.base, c.key, append(c.options, c.retry(c.giveUp))...)
	return c
}

func (c *client) retry(giveUp func(error) bool) sdk.Option {
	return sdk.WithRetry(sdk.RetryPolicy{Tries: repeats, Base: 200 * time.Millisecond, Elapsed: patience, GiveUp: giveUp,
		Pause: func(ctx context.Context, d time.Duration) error { return c.pause(ctx, d) }})
}

// lasting is a client for what goes on for as long as somebody looks: only the first connection may fail, which the option that goes
// with each call tells it; from then on it waits for a server that is away, and says so once.
func (c *client) lasting(note func(format string, args ...any)) (*sdk.Client, sdk.CallOption, error) {
	var last sdk.Response
	opened, away := false, 0
	api, err := sdk.New(c.base, c.key, append(slices.Clone(c.options), sdk.WithPatience(0), c.retry(func(error) bool {
		if last.StatusCode == http.StatusOK {
			opened, away = true, 0
		}
		last = sdk.Response{}
		if away++; opened && away == 2 {
			note("no answer for the moment, still trying")
		}
		return !opened
	}))...)
	return api, sdk.Capture(&last), err
}

// giveUp ends the repeats of what is not worth waiting for: whoever types a command wants to hear at once that nothing runs, and
// decides himself about a second time of what may do more than once.
func (c *client) giveUp(err error) bool {
	if e, ok := errors.AsType[*sdk.Error](err); ok && e.Method != http.MethodGet && e.IdempotencyKey == "" {
		return true
	}
	var timeout net.Error
	return c.hasty || errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &timeout) && timeout.Timeout()
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

// call sends a request, repeated where that is safe, and gives the body of a 2xx answer.
func (c *client) call(ctx context.Context, r request) ([]byte, error) {
	if err := cmp.Or(c.credential(r), c.unusable()); err != nil {
		return nil, err
	}
	resp, err := c.api.Do(ctx, r.method, r.path, r.query, r.body, r.options()...)
	if err != nil {
		return nil, c.explained(ctx, err)
	}
	return resp.Body, nil
}

func (r request) options() (out []sdk.CallOption) {
	if r.idempotency != "" {
		out = append(out, sdk.IdempotencyKey(r.idempotency))
	}
	if r.ifMatch != "" {
		out = append(out, sdk.IfMatch(r.ifMatch))
	}
	if r.open {
		out = append(out, sdk.WithoutKey())
	}
	return out
}

// credential is an error when the request needs a key and there is none.
func (c *client) credential(r request) error {
	if r.open || c.key != "" {
		return nil
	}
	return &exitError{code: ExitCredentials, err: fmt.Errorf("no API key for %s\n  set TASKWEIR_API_KEY or TASKWEIR_API_KEY_FILE, keep one with: taskweir context set NAME --url %s\n"+
		"  or run this beside a standalone (looked into %s)", c.base, c.base, c.dataDir)}
}

// unusable is why there is no API to talk to: the address or the key is none.
func (c *client) unusable() error {
	if c.wrong == nil {
		return nil
	}
	return usage(fmt.Errorf("%s\n  see --url, TASKWEIR_URL, TASKWEIR_API_KEY and: taskweir context list", strings.TrimPrefix(c.wrong.Error(), "taskweir: ")))
}

// explained is an error of pkg/client as commands print it.
func (c *client) explained(ctx context.Context, err error) error {
	if refused, ok := errors.AsType[*sdk.Error](err); ok {
		return c.refused(refused)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if gone, ok := errors.AsType[*sdk.NoAnswerError](err); ok {
		return &unreachable{c.base, gone.Cause}
	}
	return err
}

// refused is an answer that is no success; it may come from a proxy and be anything.
func (c *client) refused(x *sdk.Error) error {
	e := &apiError{status: x.StatusCode, path: x.Path, problem: x.Problem, retryAfter: x.RetryAfter}
	if e.problem.Code == "" {
		e.hint = c.base + " does not answer as Taskweir does: check the address (--url or TASKWEIR_URL)"
		if x.StatusCode >= 300 && x.StatusCode < 400 {
			e.hint += "; " + e.problem.Detail
		}
		e.problem.Detail = ""
	}
	if e.problem.Code == "not_found" {
		e.hint = "this server does not have it: it is older than this program (taskweir version --server), or its address is another (--url or TASKWEIR_URL)"
	}
	if hint := whereToLook[e.problem.Code]; hint != "" {
		e.hint = hint
	}
	if slices.ContainsFunc(e.problem.Errors, func(f apiv1.FieldError) bool { return f.Field == "kind" && f.Rule == "unknown" }) {
		e.hint = "taskweir kinds lists those that are known; start a worker that runs it, or: taskweir kinds declare NAME"
	}
	switch x.StatusCode {
	case http.StatusUnauthorized:
		e.hint = "check the API key (TASKWEIR_API_KEY, or taskweir context): not the public key of an app, not revoked\n" +
			"  somebody with an admin key makes one with: taskweir apps keys create APP --scope manage"
	case http.StatusForbidden:
		if e.problem.Code == "app_disabled" {
			break
		}
		e.hint = "use an API key with a larger scope (read < submit < manage < admin)"
	case http.StatusPreconditionFailed:
		e.hint = "somebody changed it meanwhile: look at it again and repeat the command"
	case http.StatusServiceUnavailable:
		if e.problem.Code != apiv1.CodeLiveViewUnavailable && e.hint == "" {
			e.hint = "try again soon; taskweir doctor says what is wrong"
		}
	}
	return e
}

// whereToLook is what to do about a thing that is not there, by the code of the problem, and about what else has a command as its answer.
var whereToLook = map[string]string{
	"task_not_found":      "another app's, or purged after its retention? taskweir tasks list shows those of this app, with --app others'",
	"attempt_not_found":   "taskweir tasks get ID shows the attempts of a task",
	"queue_not_found":     "taskweir queues shows those there are; a queue is made by its first task, or by: taskweir queues set NAME",
	"limit_key_not_found": "taskweir limit-keys shows those for which something is set",
	"schedule_not_found":  "taskweir schedules shows those of this app, with --app others'",
	"worker_not_found":    "taskweir workers --all shows those of the last hour too",
	"app_not_found":       "taskweir apps shows those that the API key sees, with their public ids",
	"api_key_not_found":   "taskweir apps keys list APP shows the ids",
	"kind_not_found":      "taskweir kinds shows those there are",
	"bulk_not_found":      "taskweir bulk list shows those of the last 30 days",
	"app_disabled":        "somebody with an admin key of another app lets it in again with: taskweir apps enable APP",
	"no_worker":           "taskweir workers shows who is alive; start one, or look at why it does not serve the queue",

	"too_many_bulk_operations": "taskweir bulk list shows those that run; wait, or stop one: taskweir bulk stop ID",
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
