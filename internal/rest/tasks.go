package rest

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (a *api) submit(ctx context.Context, c call) (httpkit.Response, error) {
	var in *control.Input
	s, err := c.JSON(func(s *httpkit.Scanner) {
		in = &control.Input{}
		s.Object(func(key []byte) { decodeMember(s, in, key) })
	})
	if err != nil {
		return httpkit.Response{}, err
	}
	if in.Broken = s.Broken(); len(in.Broken) == 1 && in.Broken[0].Field == "" {
		return httpkit.Response{}, broken(in.Broken) // not an object
	}
	raw, _ := c.Body()
	done, err := a.svc.Submit(ctx, c.who, in, idempotency(c, raw))
	if err != nil {
		return httpkit.Response{}, err
	}
	return a.submitted(c, &done), nil
}

// submitted answers 201 with the task, and 200 with the other task when that was kept.
func (a *api) submitted(c call, done *control.Submitted) httpkit.Response {
	status := http.StatusCreated
	if done.Kept {
		status = http.StatusOK
	}
	if done.Replayed {
		c.SetHeader(apiv1.HeaderReplayed, "true")
	}
	return a.respondTask(c, status, &done.View)
}

func (a *api) submitBatch(ctx context.Context, c call) (httpkit.Response, error) {
	var ins []*control.Input
	s, err := c.JSON(func(s *httpkit.Scanner) { ins = decodeBatch(s) })
	if err != nil {
		return httpkit.Response{}, err
	}
	if err := broken(s.Broken()); err != nil {
		return httpkit.Response{}, err
	}
	raw, _ := c.Body()
	items, replayed, err := a.svc.SubmitBatch(ctx, c.who, ins, idempotency(c, raw))
	if err != nil {
		return httpkit.Response{}, err
	}
	if replayed {
		c.SetHeader(apiv1.HeaderReplayed, "true")
	}
	return a.respondBatch(c, items)
}

func (a *api) getTask(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := pathID(c, "id", "task")
	if err != nil {
		return httpkit.Response{}, err
	}
	d, err := wait(c)
	if err != nil {
		return httpkit.Response{}, err
	}
	v, err := a.svc.Wait(ctx, c.who, id, d)
	if err != nil {
		return httpkit.Response{}, err
	}
	why, err := a.svc.Verdict(ctx, v)
	if err != nil {
		return httpkit.Response{}, err
	}
	verdict := apiv1.Verdict(why)
	t := taskOf(&v, a.svc.Now())
	t.Verdict, t.Progress = &verdict, a.svc.Progress(ctx, &v)
	resp := httpkit.Appended(http.StatusOK, t.AppendJSON(c.Scratch()))
	resp.ETag = true
	return resp, nil
}

func (a *api) listTasks(ctx context.Context, c call) (httpkit.Response, error) {
	if ids, ok := c.Query("ids"); ok {
		return a.manyTasks(ctx, c, ids)
	}
	f, err := filter(c)
	if err != nil {
		return httpkit.Response{}, err
	}
	page, err := a.svc.List(ctx, c.who, f)
	if err != nil {
		return httpkit.Response{}, err
	}
	return a.respondTasks(c, page.Items, page.Next), nil
}

// filter reads the filters of a list; their ranges are the use case's to check.
func filter(c call) (task.Filter, error) {
	var f task.Filter
	var fields []task.FieldError
	bad := func(field, rule, message string) {
		fields = append(fields, task.FieldError{Field: field, Rule: rule, Message: message})
	}
	for _, x := range []struct {
		name string
		to   *string
	}{{"state", &f.State}, {"queue", &f.Queue}, {"kind", &f.Kind}, {"uniqueKey", &f.UniqueKey}, {"cursor", &f.Cursor}} {
		if v, ok := c.Query(x.name); ok {
			if *x.to = v; v == "" && x.name != "cursor" {
				bad(x.name, "length", "must not be empty")
			}
		}
	}
	for _, x := range []struct {
		name string
		to   *int64
	}{{"from", &f.From}, {"to", &f.To}} {
		if v, ok := c.Query(x.name); ok {
			t, err := apiv1.ParseTime(v)
			if err != nil || t < 1 {
				bad(x.name, "format", "must be a time with zone like 2030-01-02T15:04:05.000Z")
			}
			*x.to = int64(t)
		}
	}
	if v, ok := c.Query("label"); ok {
		if f.Label.Key, f.Label.Value, ok = strings.Cut(v, ":"); !ok || f.Label.Key == "" {
			bad("label", "format", "must be name:value")
		}
	}
	n, ok := limit(c)
	if f.Limit = n; !ok {
		bad("limit", "type", "must be a whole number")
	}
	return f, broken(fields)
}

// manyTasks answers ?ids=1,2,3.
func (a *api) manyTasks(ctx context.Context, c call, list string) (httpkit.Response, error) {
	if err := c.OnlyQuery("app", "ids"); err != nil {
		return httpkit.Response{}, err
	}
	if strings.Count(list, ",") >= control.MaxBatch {
		return httpkit.Response{}, task.InvalidField("ids", "max_items", "must be at most 1000")
	}
	var ids []int64
	for i, part := range strings.Split(list, ",") {
		id, err := apiv1.ParseID(strings.TrimSpace(part))
		if err != nil {
			return httpkit.Response{}, task.InvalidField(fmt.Sprintf("ids[%d]", i), "format", "must be an id")
		}
		ids = append(ids, int64(id))
	}
	vs, err := a.svc.GetMany(ctx, c.who, ids)
	if err != nil {
		return httpkit.Response{}, err
	}
	return a.respondTasks(c, vs, ""), nil
}

func (a *api) cancelTask(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := pathID(c, "id", "task")
	if err != nil {
		return httpkit.Response{}, err
	}
	d, err := wait(c)
	if err != nil {
		return httpkit.Response{}, err
	}
	if err := noBody(c); err != nil {
		return httpkit.Response{}, err
	}
	v, err := a.svc.Cancel(ctx, c.who, id, d)
	if err != nil {
		return httpkit.Response{}, err
	}
	status := http.StatusOK
	if !v.State.Final() {
		status = http.StatusAccepted
	}
	return a.respondTask(c, status, &v), nil
}

func (a *api) retryTask(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := pathID(c, "id", "task")
	if err != nil {
		return httpkit.Response{}, err
	}
	force, err := flag(c, "force")
	if err != nil {
		return httpkit.Response{}, err
	}
	var payload []byte
	err = body(c, true, func(s *httpkit.Scanner, key []byte) {
		switch string(key) {
		case "force":
			if v, ok := s.Bool(); ok {
				force = v
			}
		case "payload":
			payload = s.Raw()
		default:
			s.Unknown()
		}
	})
	if err != nil {
		return httpkit.Response{}, err
	}
	if payload != nil {
		raw, _ := c.Body()
		done, err := a.svc.RetryWith(ctx, c.who, id, force, payload, idempotency(c, raw))
		if err != nil {
			return httpkit.Response{}, err
		}
		return a.submitted(c, &done), nil
	}
	v, err := a.svc.Retry(ctx, c.who, id, force)
	return a.task(c, v, err)
}

func (a *api) runTaskNow(ctx context.Context, c call) (httpkit.Response, error) {
	return a.actOn(ctx, c, a.svc.RunNow)
}

func (a *api) abandonTask(ctx context.Context, c call) (httpkit.Response, error) {
	return a.actOn(ctx, c, a.svc.Abandon)
}

// actOn runs a verb that takes nothing but a task.
func (a *api) actOn(ctx context.Context, c call, verb func(context.Context, control.Principal, int64) (task.View, error)) (httpkit.Response, error) {
	id, err := pathID(c, "id", "task")
	if err != nil {
		return httpkit.Response{}, err
	}
	if err := noBody(c); err != nil {
		return httpkit.Response{}, err
	}
	v, err := verb(ctx, c.who, id)
	return a.task(c, v, err)
}

func (a *api) task(c call, v task.View, err error) (httpkit.Response, error) {
	if err != nil {
		return httpkit.Response{}, err
	}
	return a.respondTask(c, http.StatusOK, &v), nil
}
