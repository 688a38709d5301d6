package httpkit

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/taskweir/taskweir/internal/task"
)

// MaxBody is the default limit of a request body in bytes.
const MaxBody = 16 << 20

// Handler answers a request. The request must not be used after it returned. An error is rendered by the route's Fail.
type Handler func(ctx context.Context, r *Request) (Response, error)

// Route is one line of a surface's table.
type Route struct {
	Method string // GET serves HEAD too
	Path   string // ":name" stands for one segment
	Handle Handler
	Fail   func(r *Request, err error) Response // nil: Problem
	Quiet  bool                                 // not traced: asked for all the time by machines
}

// Options configure an engine.
type Options struct {
	Logger  *slog.Logger // nil: slog.Default. At debug, every request is logged.
	MaxBody int64        // bytes; 0: MaxBody
	Tracer  Tracer       // nil: requests are not traced
	// CORSOrigins are the origins of pages that may call from browsers, in lower case; "*" alone: any. Default none.
	CORSOrigins []string
	// WriteWithin is what one write of a stream may take: a client that takes nothing for so long is cut off. 0: 10 s.
	WriteWithin time.Duration
}

// Tracer opens the span of a request. end takes the status of its answer.
type Tracer interface {
	Request(ctx context.Context, h http.Header, method, route string) (_ context.Context, end func(status int))
}

// Engine routes requests to handlers. It is an http.Handler; routes are added before it serves.
type Engine struct {
	gin     *gin.Engine
	log     *slog.Logger
	maxBody int64
	budget  *budget
	access  bool
	ids     requestIDs
	tracer  Tracer
	others  []others
	cors    *cors // nil: none

	writeWithin time.Duration
}

// others is what answers below a prefix where there is no route.
type others struct {
	prefix string
	fail   func(r *Request, err error) Response
}

// New makes an engine without routes. What has no route is answered by a 404 or 405 problem.
func New(o Options) *Engine {
	gin.SetMode(gin.ReleaseMode)
	e := &Engine{gin: gin.New(), log: o.Logger, maxBody: o.MaxBody, budget: newBudget(bodyBudget), ids: newRequestIDs(), cors: newCORS(o.CORSOrigins), tracer: o.Tracer}
	if e.log == nil {
		e.log = slog.Default()
	}
	if e.maxBody <= 0 {
		e.maxBody = MaxBody
	}
	if e.writeWithin = o.WriteWithin; e.writeWithin <= 0 {
		e.writeWithin = writeWithin
	}
	e.access = e.log.Enabled(context.Background(), slog.LevelDebug)
	e.gin.RedirectTrailingSlash = false
	e.gin.RedirectFixedPath = false
	e.gin.HandleMethodNotAllowed = true
	e.gin.ForwardedByClientIP = false
	e.gin.NoRoute(e.wrap(Route{Handle: e.nothing(http.StatusNotFound,
		&task.Error{Kind: task.NotFound, Code: "not_found", Message: "there is nothing at this address"})}))
	e.gin.NoMethod(e.wrap(Route{Handle: e.nothing(http.StatusMethodNotAllowed,
		&task.Error{Kind: task.NotFound, Code: "method_not_allowed", Message: "this address does not answer this method"})}))
	return e
}

// nothing answers where there is no route.
func (e *Engine) nothing(status int, err *task.Error) Handler {
	return func(_ context.Context, r *Request) (Response, error) {
		for _, o := range e.others {
			if rest, ok := strings.CutPrefix(r.Path(), o.prefix); ok && (rest == "" || rest[0] == '/') {
				return o.fail(r, err), nil
			}
		}
		return r.Problem(status, err), nil
	}
}

// Elsewhere lets a surface answer below a prefix, which does not end with a slash, where there is no route. The error is of kind NotFound, with code "not_found"
// or "method_not_allowed".
func (e *Engine) Elsewhere(prefix string, fail func(r *Request, err error) Response) {
	e.others = append(e.others, others{prefix, fail})
}

// Handle adds routes. It panics on two routes that cannot be told apart: a mistake in a table.
func (e *Engine) Handle(routes ...Route) {
	for _, r := range routes {
		h := e.wrap(r)
		e.gin.Handle(r.Method, r.Path, h)
		if r.Method == http.MethodGet {
			e.gin.Handle(http.MethodHead, r.Path, h)
		}
	}
}

// Mount serves a path by a plain handler, for pages that libraries bring along.
func (e *Engine) Mount(method, path string, h http.Handler) {
	e.gin.Handle(method, path, gin.WrapH(h))
}

// ServeHTTP makes the engine an http.Handler.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if e.cors != nil && e.cors.serve(w, r) {
		return
	}
	e.gin.ServeHTTP(w, r)
}

// wrap makes a route's handler one of the engine's.
func (e *Engine) wrap(route Route) gin.HandlerFunc {
	return func(c *gin.Context) {
		var start time.Time
		if e.access {
			start = time.Now()
		}
		r := newRequest(c, e)
		resp := e.answer(route, r)
		r.send(&resp)
		if e.access {
			e.log.Debug("request", "method", c.Request.Method, "path", c.Request.URL.Path, "status", resp.Status, "ms", time.Since(start).Milliseconds(), "request", r.ID())
		}
		r.recycle(&resp)
	}
}

// answer runs the handler and renders what went wrong. A panic is logged with its stack and answered without it.
func (e *Engine) answer(route Route, r *Request) (resp Response) {
	fail := route.Fail
	if fail == nil {
		fail = Problem
	}
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if p == http.ErrAbortHandler {
			e.budget.give(r.held) // recycle is not reached
			panic(p)
		}
		e.log.Error("a handler panicked", "panic", p, "method", r.Method(), "path", r.Path(), "request", r.ID(), "stack", string(debug.Stack()))
		resp = fail(r, &task.Error{Kind: task.Internal, Code: "internal"})
	}()
	ctx := r.c.Request.Context()
	if e.tracer != nil && !route.Quiet {
		var end func(status int)
		ctx, end = e.tracer.Request(ctx, r.c.Request.Header, route.Method, route.Path)
		defer func() { end(resp.Status) }()
	}
	resp, err := route.Handle(ctx, r)
	if err != nil {
		e.logFault(r, err)
		return fail(r, err)
	}
	return resp
}

// logFault logs what is nobody's fault but ours. What a client did wrong is not logged.
func (e *Engine) logFault(r *Request, err error) {
	switch task.KindOf(err) {
	case task.Internal:
		if r.c.Request.Context().Err() == nil {
			e.log.Error("a request failed", "error", err, "method", r.Method(), "path", r.Path(), "request", r.ID())
		}
	case task.Unavailable:
		e.log.Debug("a request could not be served", "error", err, "method", r.Method(), "path", r.Path(), "request", r.ID())
	}
}

// retryAfter is a Retry-After header: whole seconds, at least one.
func retryAfter(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}
