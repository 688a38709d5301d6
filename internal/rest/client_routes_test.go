package rest

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
	"github.com/taskweir/taskweir/pkg/client"
)

// notForPrograms are query parameters that no program needs, each for a reason.
var notForPrograms = map[string]string{
	"ticket":      "is for browsers: a program sends its key",
	"lastEventId": "is for browsers' pages: a program sends the header",
}

// announced are routes whose wire types stand in package apiv1 and that a server of this version may not have yet.
var announced = regexp.MustCompile(`^/v1/limit-keys(/|$)|^/v1/queues/q$`)

// drain runs an iterator to its end.
func drain[T any](items func(func(T, error) bool)) {
	for range items {
	}
}

// everything calls every method of the client with everything that it can say.
func everything(ctx context.Context, c *client.Client) {
	at, page := time.Unix(2e9, 0), client.Page{Size: 7, Cursor: "c"}
	const id, other = apiv1.ID(1), apiv1.ID(2)
	_, _ = c.Submit(ctx, "echo", 1)
	_, _ = c.SubmitBatch(ctx, []apiv1.Submit{{Kind: "echo"}})
	_, _ = c.Get(ctx, id)
	_, _ = c.Wait(ctx, id)
	_, _ = c.GetMany(ctx, []apiv1.ID{id})
	drain(c.List(ctx, client.TaskFilter{State: "s", Queue: "q", Kind: "k", LabelName: "l", LabelVal: "v", UniqueKey: "u", From: at, To: at, Page: page}))
	_, _ = c.Cancel(ctx, id, time.Second)
	_, _ = c.Retry(ctx, id, true)
	_, _ = c.RetryWith(ctx, id, 1, true)
	_, _ = c.RunNow(ctx, id)
	_, _ = c.Abandon(ctx, id)
	_, _ = c.Resend(ctx, id)
	_, _ = c.Complete(ctx, id, apiv1.Complete{Epoch: 1, Outcome: "succeeded"})
	_, _ = c.Stack(ctx, id)
	_, _ = c.Attempt(ctx, id, other)
	_, _ = c.Log(ctx, id, client.LogQuery{Attempt: other, From: 7})
	drain(c.FollowLog(ctx, id, client.LogQuery{Attempt: other}))
	drain(c.TaskEvents(ctx, id, "1.1"))
	drain(c.Events(ctx, client.EventFilter{Queue: "q", Kind: "k", Types: []string{"failed"}}))
	_, _ = c.EventTicket(ctx, id)

	_, _ = c.Schedules.Create(ctx, apiv1.ScheduleInput{Name: "n"})
	drain(c.Schedules.List(ctx, client.ScheduleFilter{Name: "n", Paused: new(true), Page: page}))
	_, _ = c.Schedules.Preview(ctx, apiv1.SchedulePreview{})
	_, _ = c.Schedules.Get(ctx, id)
	_, _ = c.Schedules.Replace(ctx, id, apiv1.ScheduleInput{Name: "n"})
	_ = c.Schedules.Delete(ctx, id)
	_, _ = c.Schedules.Pause(ctx, id)
	_, _ = c.Schedules.Resume(ctx, id)
	_, _ = c.Schedules.Trigger(ctx, id)
	_, _ = c.Schedules.SkipNext(ctx, id)
	_, _ = c.Schedules.Backfill(ctx, id, at, at)
	drain(c.Schedules.Slots(ctx, id, client.SlotFilter{From: at, To: at, Outcome: "fired", Page: page}))
	_, _ = c.Schedules.Next(ctx, id, at, 3)

	drain(c.Kinds.List(ctx, page))
	_, _ = c.Kinds.Get(ctx, "k")
	_, _ = c.Kinds.Declare(ctx, "k")
	drain(c.Queues.List(ctx, page))
	_, _ = c.Queues.Get(ctx, "q")
	_, _ = c.Queues.Put(ctx, "q", apiv1.QueueUpdate{})
	_, _ = c.Queues.Pause(ctx, "q")
	_, _ = c.Queues.Resume(ctx, "q")
	drain(c.LimitKeys.List(ctx, page))
	_, _ = c.LimitKeys.Get(ctx, "k")
	_, _ = c.LimitKeys.Put(ctx, "k", apiv1.LimitKeyUpdate{})
	_ = c.LimitKeys.Delete(ctx, "k")
	_, _ = c.LimitKeys.Pause(ctx, "k")
	_, _ = c.LimitKeys.Resume(ctx, "k")
	drain(c.Workers.List(ctx, true, page))
	_, _ = c.Workers.Get(ctx, id)
	_, _ = c.Workers.Drain(ctx, id)

	drain(c.Apps.List(ctx, page))
	_, _ = c.Apps.Create(ctx, apiv1.AppCreate{})
	_, _ = c.Apps.Get(ctx, "a")
	_, _ = c.Apps.Update(ctx, "a", apiv1.AppPatch{})
	_, _ = c.Apps.RotateSecret(ctx, "a", time.Hour)
	_, _ = c.Apps.TestCallback(ctx, "a", "callback")
	drain(c.Apps.Keys(ctx, "a", page))
	_, _ = c.Apps.CreateKey(ctx, "a", apiv1.KeyCreate{})
	_ = c.Apps.RevokeKey(ctx, "a", id)

	_, _ = c.Bulk.Start(ctx, apiv1.BulkCreate{})
	_, _ = c.Bulk.Get(ctx, id)
	drain(c.Bulk.List(ctx, page))
	_, _ = c.Bulk.Stop(ctx, id)
	_, _ = c.Stats(ctx, client.StatsQuery{From: at, To: at, Step: time.Minute, By: "queue"})
	drain(c.Audit(ctx, client.AuditFilter{From: at, To: at, Action: "a", Target: "t", Page: page}))
}

// Every route, with every query parameter, can be said with the client, and it says nothing that no route knows.
func TestTheClientHasEveryRoute(t *testing.T) {
	var mu sync.Mutex
	var asked []*http.Request
	c := clientOf(t, func(r *http.Request, _ []byte) (int, string) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r)
		if strings.HasSuffix(r.URL.Path, "/events") {
			return http.StatusNoContent, ""
		}
		return 200, `{"id":"1","state":"succeeded","items":[],"nextCursor":null}`
	}).ForApp("app")
	everything(t.Context(), c)

	said := map[string]url.Values{} // by route
	for _, r := range asked {
		name, takes, ok := routeOf(r)
		if !ok && announced.MatchString(r.URL.Path) {
			continue
		}
		if !ok {
			t.Errorf("no route takes %s %s of the client", r.Method, r.URL.Path)
			continue
		}
		if said[name] == nil {
			said[name] = url.Values{}
		}
		for param, values := range r.URL.Query() {
			if said[name][param] = values; !slices.Contains(takes, param) {
				t.Errorf("%s does not take %s of the client", name, param)
			}
		}
	}
	for _, r := range (&api{}).routes() {
		params, ok := said[r.method+" "+r.path]
		if !ok {
			t.Errorf("%s %s has no method of the client", r.method, r.path)
			continue
		}
		for _, param := range r.query {
			if _, has := params[param]; !has && notForPrograms[param] == "" {
				t.Errorf("no method of the client says %s of %s %s", param, r.method, r.path)
			}
		}
	}
}

var pathParam = regexp.MustCompile(`:\w+`)

// routeOf finds the route that takes a request: one without parameters before one with.
func routeOf(r *http.Request) (name string, takes []string, ok bool) {
	for _, rt := range (&api{}).routes() {
		pattern := pathParam.ReplaceAllString(rt.path, `[^/]+`)
		if rt.method == r.Method && regexp.MustCompile("^"+pattern+"$").MatchString(r.URL.EscapedPath()) {
			if name, takes, ok = rt.method+" "+rt.path, rt.query, true; !strings.Contains(rt.path, ":") {
				return name, takes, ok
			}
		}
	}
	return name, takes, ok
}
