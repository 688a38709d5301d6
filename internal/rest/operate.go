package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// queries reads query parameters and remembers everything that is wrong with them.
type queries struct {
	c   call
	bad []task.FieldError
}

func (q *queries) fail(field, rule, message string) {
	q.bad = append(q.bad, task.FieldError{Field: field, Rule: rule, Message: message})
}

// text reads a parameter that must not be empty when it is there.
func (q *queries) text(name string) string {
	v, ok := q.c.Query(name)
	if ok && v == "" {
		q.fail(name, "length", "must not be empty")
	}
	return v
}

func (q *queries) instant(name string) (m control.Maybe[int64]) {
	v, ok := q.c.Query(name)
	if !ok {
		return m
	}
	t, err := apiv1.ParseTime(v)
	if err != nil || t < 1 {
		q.fail(name, "format", "must be a time with zone like 2030-01-02T15:04:05.000Z")
		return m
	}
	return control.Some(int64(t))
}

func (q *queries) whole(name string) (m control.Maybe[int64]) {
	v, ok := q.c.Query(name)
	if !ok {
		return m
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		q.fail(name, "type", "must be a whole number")
		return m
	}
	return control.Some(n)
}

func (q *queries) limit() int {
	n, ok := limit(q.c)
	if !ok {
		q.fail("limit", "type", "must be a whole number")
	}
	return n
}

func (q *queries) err() error { return broken(q.bad) }

func (a *api) stats(ctx context.Context, c call) (httpkit.Response, error) {
	q := queries{c: c}
	in := control.StatsInput{From: q.instant("from"), To: q.instant("to"), StepMs: q.whole("stepMs"), By: q.text("by")}
	if err := q.err(); err != nil {
		return httpkit.Response{}, err
	}
	query, items, err := a.svc.Stats(ctx, c.who, in)
	if err != nil {
		return httpkit.Response{}, err
	}
	out := apiv1.Stats{From: apiv1.Time(query.From), To: apiv1.Time(query.To), StepMs: query.StepMs, By: string(query.By), Items: make([]apiv1.Stat, len(items))}
	for i := range items {
		out.Items[i] = statOf(&items[i])
	}
	return httpkit.JSON(http.StatusOK, out)
}

func statOf(s *task.Stat) apiv1.Stat {
	out := apiv1.Stat{At: apiv1.Time(s.At), Key: s.Key, Submitted: s.Submitted, Succeeded: s.Succeeded, Failed: s.Failed, Retried: s.Retried,
		TimedOut: s.TimedOut, Cancelled: s.Cancelled, Lost: s.Lost}
	if s.WaitP95 >= 0 {
		out.WaitP95Ms = &s.WaitP95
	}
	if s.RunP95 >= 0 {
		out.RunP95Ms = &s.RunP95
	}
	return out
}

// listAudit answers GET /v1/audit. An administrator who names no app sees everything.
func (a *api) listAudit(ctx context.Context, c call) (httpkit.Response, error) {
	q := queries{c: c}
	f := task.AuditFilter{Action: q.text("action"), Target: q.text("target"), From: q.instant("from").V, To: q.instant("to").V, Limit: q.limit()}
	f.Cursor, _ = c.Query("cursor")
	if err := q.err(); err != nil {
		return httpkit.Response{}, err
	}
	_, named := c.Query("app")
	page, err := a.svc.AuditTrail(ctx, c.who, f, !named)
	if err != nil {
		return httpkit.Response{}, err
	}
	out := apiv1.List[apiv1.AuditEntry]{Items: make([]apiv1.AuditEntry, len(page.Items)), NextCursor: optional(page.Next)}
	for i := range page.Items {
		out.Items[i] = auditOf(&page.Items[i])
	}
	return httpkit.JSON(http.StatusOK, out)
}

func auditOf(e *task.AuditEntry) apiv1.AuditEntry {
	return apiv1.AuditEntry{ID: apiv1.ID(e.ID), At: apiv1.Time(e.At), App: e.App, Action: e.Action, Target: e.Target, Before: rawJSON(e.Before), After: rawJSON(e.After), Request: e.Request,
		Actor: apiv1.Actor{App: e.Actor.App, Key: apiv1.ID(e.Actor.KeyID), KeyName: e.Actor.KeyName, Scope: scopeOf(e.Actor.Scope), Surface: e.Actor.Surface, Address: e.Actor.Address}}
}

func scopeOf(s task.Scope) string {
	if s == 0 {
		return ""
	}
	return control.ScopeName(s)
}

func rawJSON(b []byte) json.RawMessage {
	if len(b) == 0 {
		return json.RawMessage("null")
	}
	return b
}

func (a *api) getKind(ctx context.Context, c call) (httpkit.Response, error) {
	k, err := a.svc.Kind(ctx, c.who, c.Param("name"))
	return tagged(apiv1.Kind(k), err)
}
