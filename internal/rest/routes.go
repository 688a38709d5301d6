// Package rest is the native API, /v1 (spec: the route table below and package apiv1 for the shapes). A handler decodes,
// calls one use case of package control and renders; it decides nothing.
//
// Default deny: every route of the table but none needs an API key, and each use case names the scope it needs. Query
// parameters and JSON members that a route does not know are refused by name. An administrator acts on another app with
// ?app=<its public key>; reading routes also take ?app=* for all of them.
//
// Answers that hold tasks are appended by apiv1.Task.AppendJSON, so that payloads and results leave byte for byte; requests
// are read by httpkit.Scanner in one pass, so that every wrong member is named at once and the payload is never decoded.
package rest

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
)

// Options are what the API needs.
type Options struct {
	Service *control.Service // required
	Logger  *slog.Logger     // nil: slog.Default
	Ops     httpkit.Ops      // pages beside the API that need no credential
	MaxBody int64            // bytes of a request; 0: 16 MiB
	Tracer  httpkit.Tracer   // nil: requests are not traced
	// CORSOrigins are the origins of pages that may call from browsers (httpkit.Options).
	CORSOrigins []string
	// WriteWithin is what one write of a stream may take (httpkit.Options). 0: 10 s.
	WriteWithin time.Duration
	// Recheck is how often streams look whether their credential is still good. 0: 15 s.
	Recheck time.Duration
}

// New makes an engine that serves the API and the operations pages. Other surfaces may add their routes to it.
func New(o Options) *httpkit.Engine {
	e := httpkit.New(httpkit.Options{Logger: o.Logger, MaxBody: o.MaxBody, Tracer: o.Tracer, CORSOrigins: o.CORSOrigins, WriteWithin: o.WriteWithin})
	register(e, o)
	httpkit.RegisterOps(e, o.Ops)
	return e
}

// Register adds the API's routes to an engine.
func Register(e *httpkit.Engine, svc *control.Service) { register(e, Options{Service: svc}) }

func register(e *httpkit.Engine, o Options) {
	a := &api{svc: o.Service, recheck: o.Recheck}
	if a.recheck <= 0 {
		a.recheck = recheck
	}
	for _, r := range a.routes() {
		e.Handle(httpkit.Route{Method: r.method, Path: r.path, Handle: a.authenticated(r)})
	}
}

type api struct {
	svc     *control.Service
	recheck time.Duration
}

// call is one authenticated request.
type call struct {
	*httpkit.Request
	who control.Principal
	// ticket: it is the credential.
	ticket bool
}

// route is one line of the table.
type route struct {
	method, path string
	query        []string // the parameters it takes
	handle       func(context.Context, call) (httpkit.Response, error)
}

func (a *api) routes() []route {
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	page := []string{"limit", "cursor"}[:2:2]
	return []route{
		{post, "/v1/tasks", []string{"app"}, a.submit},
		{post, "/v1/tasks/batch", []string{"app"}, a.submitBatch},
		{get, "/v1/tasks", []string{"app", "ids", "state", "queue", "kind", "label", "uniqueKey", "from", "to", "limit", "cursor"}, a.listTasks},
		{get, "/v1/tasks/:id", []string{"app", "wait"}, a.getTask},
		{post, "/v1/tasks/:id/cancel", []string{"app", "wait"}, a.cancelTask},
		{post, "/v1/tasks/:id/retry", []string{"app", "force"}, a.retryTask},
		{post, "/v1/tasks/:id/run-now", []string{"app"}, a.runTaskNow},
		{post, "/v1/tasks/:id/abandon", []string{"app"}, a.abandonTask},
		{get, "/v1/tasks/:id/stack", []string{"app"}, a.taskStack},
		{get, "/v1/tasks/:id/log", []string{"app", "attempt", "from", "follow", "ticket"}, a.taskLog},
		{get, "/v1/tasks/:id/events", []string{"app", "lastEventId", "ticket"}, a.taskEvents},
		{get, "/v1/events", []string{"app", "queue", "kind", "type", "lastEventId", "ticket"}, a.allEvents},
		{post, "/v1/events/tickets", []string{"app"}, a.newTicket},

		{post, "/v1/schedules", []string{"app"}, a.createSchedule},
		{get, "/v1/schedules", append(page, "app", "name", "paused"), a.listSchedules},
		{post, "/v1/schedules/preview", nil, a.previewSchedule},
		{get, "/v1/schedules/:id", []string{"app"}, a.getSchedule},
		{put, "/v1/schedules/:id", []string{"app"}, a.replaceSchedule},
		{del, "/v1/schedules/:id", []string{"app"}, a.deleteSchedule},
		{post, "/v1/schedules/:id/pause", []string{"app"}, a.pauseSchedule},
		{post, "/v1/schedules/:id/resume", []string{"app"}, a.resumeSchedule},
		{post, "/v1/schedules/:id/trigger", []string{"app"}, a.triggerSchedule},
		{post, "/v1/schedules/:id/skip-next", []string{"app"}, a.skipNextSlot},
		{post, "/v1/schedules/:id/backfill", []string{"app"}, a.backfillSchedule},
		{get, "/v1/schedules/:id/slots", append(page, "app", "from", "to", "outcome"), a.listSlots},
		{get, "/v1/schedules/:id/preview", []string{"app", "count", "from"}, a.previewStored},

		{post, "/v1/tasks/:id/complete", []string{"app"}, a.completeTask},
		{post, "/v1/tasks/:id/resend", []string{"app"}, a.resendTask},
		{get, "/v1/tasks/:id/attempts/:attempt", []string{"app"}, a.getAttempt},

		{get, "/v1/kinds", page, a.listKinds},
		{get, "/v1/kinds/:name", nil, a.getKind},
		{put, "/v1/kinds/:name", nil, a.declareKind},

		{get, "/v1/queues", append(page, "app"), a.listQueues},
		{get, "/v1/queues/:name", []string{"app"}, a.getQueue},
		{put, "/v1/queues/:name", []string{"app"}, a.putQueue},
		{post, "/v1/queues/:name/pause", []string{"app"}, a.pauseQueue},
		{post, "/v1/queues/:name/resume", []string{"app"}, a.resumeQueue},

		{get, "/v1/limit-keys", append(page, "app"), a.listLimitKeys},
		{get, "/v1/limit-keys/:key", []string{"app"}, a.getLimitKey},
		{put, "/v1/limit-keys/:key", []string{"app"}, a.putLimitKey},
		{del, "/v1/limit-keys/:key", []string{"app"}, a.deleteLimitKey},
		{post, "/v1/limit-keys/:key/pause", []string{"app"}, a.pauseLimitKey},
		{post, "/v1/limit-keys/:key/resume", []string{"app"}, a.resumeLimitKey},

		{get, "/v1/workers", append(page, "all"), a.listWorkers},
		{get, "/v1/workers/:id", nil, a.getWorker},
		{post, "/v1/workers/:id/drain", nil, a.drainWorker},

		{get, "/v1/apps", page, a.listApps},
		{post, "/v1/apps", nil, a.createApp},
		{get, "/v1/apps/:app", nil, a.getApp},
		{patch, "/v1/apps/:app", nil, a.updateApp},
		{post, "/v1/apps/:app/secret", []string{"overlapMs"}, a.rotateSecret},
		{post, "/v1/apps/:app/test-callback", []string{"kind"}, a.testCallback},
		{get, "/v1/apps/:app/keys", page, a.listKeys},
		{post, "/v1/apps/:app/keys", nil, a.createKey},
		{del, "/v1/apps/:app/keys/:key", nil, a.revokeKey},

		{get, "/v1/stats", []string{"app", "from", "to", "stepMs", "by"}, a.stats},
		{post, "/v1/bulk", []string{"app"}, a.createBulk},
		{get, "/v1/bulk", append(page, "app"), a.listBulks},
		{get, "/v1/bulk/:id", []string{"app"}, a.getBulk},
		{post, "/v1/bulk/:id/stop", []string{"app"}, a.stopBulk},
		{get, "/v1/audit", append(page, "app", "action", "target", "from", "to"), a.listAudit},
	}
}

// guarded are the routes that honour If-Match.
var guarded = map[string]bool{
	"PATCH /v1/apps/:app": true, "PUT /v1/schedules/:id": true, "DELETE /v1/schedules/:id": true, "POST /v1/schedules/:id/pause": true,
	"POST /v1/schedules/:id/resume": true, "POST /v1/schedules/:id/skip-next": true,
}

// authenticated puts the credential, the query parameters and ?app= before a handler.
func (a *api) authenticated(rt route) httpkit.Handler {
	takesApp, takesTicket := slices.Contains(rt.query, "app"), slices.Contains(rt.query, "ticket")
	unguarded := rt.method != http.MethodGet && !guarded[rt.method+" "+rt.path]
	return func(ctx context.Context, r *httpkit.Request) (httpkit.Response, error) {
		who, ticket, err := a.credential(ctx, r, takesTicket)
		if err != nil {
			return httpkit.Response{}, err
		}
		who = who.Via("v1", r.Address(), r.ID())
		if err := r.OnlyQuery(rt.query...); err != nil {
			return httpkit.Response{}, err
		}
		if unguarded && r.HasHeader("If-Match") { // who sends it relies on it
			return httpkit.Response{}, task.InvalidField("If-Match", "not_available", "cannot be used here: this route compares no versions")
		}
		if takesApp {
			if key, ok := r.Query("app"); ok {
				if who, err = a.svc.ForApp(ctx, who, key); err != nil {
					return httpkit.Response{}, err
				}
			}
		}
		return rt.handle(ctx, call{r, who, ticket})
	}
}
