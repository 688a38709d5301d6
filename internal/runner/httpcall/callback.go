package httpcall

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
	"github.com/taskweir/taskweir/pkg/signature"
)

// appFor is how long what was read of an app is used.
const appFor = 5 * time.Second

// Apps reads apps (worker.Store).
type Apps interface {
	AppByID(ctx context.Context, id int32) (task.App, error)
}

// Opener unseals secrets (internal/secret).
type Opener interface {
	Open(sealed []byte) ([]byte, error)
}

// Callback runs one kind of callbacks: kind callback itself, or that of a surface.
type Callback struct {
	caller   caller
	dialect  Dialect
	legacy   bool
	anywhere bool // each call names its URL: the app needs none
	apps     Apps
	box      Opener

	mu    sync.Mutex
	known map[int32]*target
	start time.Time
}

// target is where an app's callbacks go, or why they go nowhere.
type target struct {
	Target
	auth   string // of the URL's name and password; empty: none
	secret signature.Secret
	older  signature.Secret // signs too while both are valid; nil: there is none
	overAt int64            // when it ends, by the database's clock
	reject *task.Result
	until  time.Duration // since Callback.start
}

// NewCallback makes the runner of kind callback.
func NewCallback(o Options, apps Apps, box Opener) *Callback {
	return NewCallbackKind(o, apps, box, native{})
}

// NewCallbackKind makes the runner of a surface's kind of callbacks.
func NewCallbackKind(o Options, apps Apps, box Opener, d Dialect) *Callback {
	_, anywhere := d.(completion)
	_, ours := d.(native)
	return &Callback{caller: newCaller(o), dialect: d, legacy: !ours && !anywhere, anywhere: anywhere, apps: apps, box: box, known: map[int32]*target{}, start: time.Now()}
}

// Kind is the dialect's.
func (r *Callback) Kind() string { return r.dialect.Kind() }

// Run makes the call of one attempt.
func (r *Callback) Run(ctx context.Context, job worker.Job) task.Result {
	to, err := r.target(ctx, job.AppID)
	if err != nil {
		// Nothing was tried: it does not count against the task's retries.
		return task.Result{Outcome: task.OutcomeSnoozed, RetryAfterMs: 1_000, ErrCode: "app_not_read", ErrMessage: "the app could not be read"}
	}
	if to.reject != nil {
		return *to.reject
	}
	nowMs := r.caller.Clock.Now()
	call, err := r.dialect.Build(to.Target, job, time.UnixMilli(nowMs))
	if err != nil {
		return invalid(err.Error())
	}
	req, bad := r.request(to, &call)
	if bad != nil {
		return *bad
	}
	r.caller.identify(req.header, &job)
	to.sign(req, "task_"+strconv.FormatInt(job.TaskID, 10), nowMs)
	return r.caller.send(ctx, &job, req, func(a *Answer) task.Result { return r.dialect.Judge(*a) })
}

// sign adds the Standard Webhooks headers: with the app's secret, and with the one before it while that is valid.
func (t *target) sign(req *request, id string, nowMs int64) {
	at := time.UnixMilli(nowMs)
	if t.older != nil && nowMs < t.overAt {
		signature.SignHeader(req.header, id, at, req.body, t.secret, t.older)
		return
	}
	signature.SignHeader(req.header, id, at, req.body, t.secret)
}

// request is what is sent of a dialect's call. Name and password of the target's URL go to no other one.
func (r *Callback) request(to *target, call *Call) (*request, *task.Result) {
	req := &request{method: call.Method, url: to.URL, header: call.Header, body: call.Body, legacy: r.legacy, keep: to.App.KeepDeliveries, secret: to.Secret}
	if req.method == "" {
		req.method = http.MethodPost
	}
	if req.header == nil {
		req.header = make(http.Header, 8)
	}
	auth := to.auth
	if call.URL != "" {
		u, wrong := parseURL(call.URL)
		if wrong != nil {
			res := invalid("the URL " + wrong.Message)
			return nil, &res
		}
		req.url, auth = u, takeUser(u)
	}
	if auth != "" {
		req.header["Authorization"] = []string{auth}
	}
	return req, nil
}

// target gives where an app's callbacks go, as read in the last seconds.
func (r *Callback) target(ctx context.Context, appID int32) (*target, error) {
	now := time.Since(r.start)
	r.mu.Lock()
	t := r.known[appID]
	r.mu.Unlock()
	if t != nil && now < t.until {
		return t, nil
	}
	app, err := r.apps.AppByID(ctx, appID)
	if err != nil {
		var known *task.Error
		if errors.As(err, &known) && known.Kind == task.NotFound {
			return refuse("app_not_found", "the task's app does not exist any more"), nil
		}
		return nil, err
	}
	t = r.resolve(app)
	t.until = now + appFor
	r.mu.Lock()
	if len(r.known) >= 10_000 {
		clear(r.known)
	}
	r.known[appID] = t
	r.mu.Unlock()
	return t, nil
}

// resolve checks an app's settings once.
func (r *Callback) resolve(app task.App) *target {
	if app.CallbackURL == "" && !r.anywhere {
		return refuse("no_callback_url", "the app "+app.Name+" has no callback URL")
	}
	u, wrong := parseURL(app.CallbackURL)
	switch {
	case r.anywhere:
		u = &url.URL{} // each names its own
	case wrong != nil:
		return refuse("no_callback_url", "the callback URL of the app "+app.Name+" "+wrong.Message)
	}
	plain, err := r.box.Open(app.Secret)
	if err != nil {
		return refuse("no_signing_secret", "the signing secret of the app "+app.Name+" cannot be opened")
	}
	secret, err := signature.ParseSecret(string(plain))
	if err != nil {
		return refuse("no_signing_secret", "the app "+app.Name+" has no usable signing secret")
	}
	auth := takeUser(u)
	t := &target{Target: Target{App: app, URL: u, Secret: string(plain)}, auth: auth, secret: secret}
	if len(app.OldSecret) > 0 && app.OldSecretUntil > r.caller.Clock.Now() {
		// One that cannot be opened any more signs nothing: the new one does.
		if plain, err := r.box.Open(app.OldSecret); err == nil {
			if t.older, err = signature.ParseSecret(string(plain)); err == nil {
				t.overAt = app.OldSecretUntil
			}
		}
	}
	return t
}

// refuse is a target that takes nothing; no retry can help.
func refuse(code, message string) *target {
	return &target{reject: &task.Result{Outcome: task.OutcomeFailed, Permanent: true, ErrCode: code, ErrMessage: message}}
}
