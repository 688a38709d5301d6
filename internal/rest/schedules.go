package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (a *api) createSchedule(ctx context.Context, c call) (httpkit.Response, error) {
	in, err := decodeSchedule(c)
	if err != nil {
		return httpkit.Response{}, err
	}
	raw, _ := c.Body()
	sch, replayed, err := a.svc.CreateSchedule(ctx, c.who, in, idempotency(c, raw))
	if err != nil {
		return httpkit.Response{}, err
	}
	if replayed {
		c.SetHeader(apiv1.HeaderReplayed, "true")
	}
	return respondSchedule(c, http.StatusCreated, &sch)
}

func (a *api) listSchedules(ctx context.Context, c call) (httpkit.Response, error) {
	f, err := scheduleFilter(c)
	if err != nil {
		return httpkit.Response{}, err
	}
	items, next, err := a.svc.Schedules(ctx, c.who, f)
	if err != nil {
		return httpkit.Response{}, err
	}
	b := append(c.Scratch(), `{"items":[`...)
	for i := range items {
		if i > 0 {
			b = append(b, ',')
		}
		wire := scheduleOf(&items[i])
		if b, err = wire.AppendJSON(b); err != nil {
			return httpkit.Response{}, err
		}
	}
	cursor, err := json.Marshal(optional(next))
	if err != nil {
		return httpkit.Response{}, err
	}
	b = append(append(b, `],"nextCursor":`...), cursor...)
	return httpkit.Appended(http.StatusOK, append(b, '}')), nil
}

func scheduleFilter(c call) (schedule.Filter, error) {
	var f schedule.Filter
	var fields []task.FieldError
	if v, ok := c.Query("name"); ok {
		if f.Name = v; v == "" {
			fields = append(fields, task.FieldError{Field: "name", Rule: "length", Message: "must not be empty"})
		}
	}
	if v, ok := c.Query("paused"); ok {
		b, err := strconv.ParseBool(v)
		if f.Paused = &b; err != nil {
			fields = append(fields, task.FieldError{Field: "paused", Rule: "type", Message: "must be true or false"})
		}
	}
	f.Cursor, _ = c.Query("cursor")
	n, ok := limit(c)
	if f.Limit = n; !ok {
		fields = append(fields, task.FieldError{Field: "limit", Rule: "type", Message: "must be a whole number"})
	}
	return f, broken(fields)
}

func (a *api) getSchedule(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := pathID(c, "id", "schedule")
	if err != nil {
		return httpkit.Response{}, err
	}
	sch, err := a.svc.Schedule(ctx, c.who, id)
	return answerSchedule(c, sch, err)
}

func (a *api) replaceSchedule(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := pathID(c, "id", "schedule")
	if err != nil {
		return httpkit.Response{}, err
	}
	in, err := decodeSchedule(c)
	if err != nil {
		return httpkit.Response{}, err
	}
	sch, err := a.svc.ReplaceSchedule(ctx, c.who, id, in, ifMatch(c))
	return answerSchedule(c, sch, err)
}

func (a *api) deleteSchedule(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := scheduleID(c)
	if err != nil {
		return httpkit.Response{}, err
	}
	if err := a.svc.DeleteSchedule(ctx, c.who, id, ifMatch(c)); err != nil {
		return httpkit.Response{}, err
	}
	return httpkit.Response{Status: http.StatusNoContent}, nil
}

// scheduleID reads the id of a request that has no body.
func scheduleID(c call) (int64, error) {
	id, err := pathID(c, "id", "schedule")
	if err != nil {
		return 0, err
	}
	return id, noBody(c)
}

func (a *api) pauseSchedule(ctx context.Context, c call) (httpkit.Response, error) {
	return a.setSchedulePaused(ctx, c, true)
}

func (a *api) resumeSchedule(ctx context.Context, c call) (httpkit.Response, error) {
	return a.setSchedulePaused(ctx, c, false)
}

func (a *api) setSchedulePaused(ctx context.Context, c call, paused bool) (httpkit.Response, error) {
	id, err := scheduleID(c)
	if err != nil {
		return httpkit.Response{}, err
	}
	sch, err := a.svc.PauseSchedule(ctx, c.who, id, paused, ifMatch(c))
	return answerSchedule(c, sch, err)
}

// triggerSchedule answers 201 with the slot that has a task, and 202 with one that waits for an earlier run.
func (a *api) triggerSchedule(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := scheduleID(c)
	if err != nil {
		return httpkit.Response{}, err
	}
	raw, _ := c.Body()
	slot, replayed, err := a.svc.TriggerSchedule(ctx, c.who, id, idempotency(c, raw))
	if err != nil {
		return httpkit.Response{}, err
	}
	if replayed {
		c.SetHeader(apiv1.HeaderReplayed, "true")
	}
	status := http.StatusCreated
	if slot.TaskID == 0 {
		status = http.StatusAccepted
	}
	return httpkit.JSON(status, slotOf(slot))
}

func (a *api) skipNextSlot(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := scheduleID(c)
	if err != nil {
		return httpkit.Response{}, err
	}
	slot, err := a.svc.SkipNext(ctx, c.who, id, ifMatch(c))
	return one(slotOf(slot), err)
}

func (a *api) backfillSchedule(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := pathID(c, "id", "schedule")
	if err != nil {
		return httpkit.Response{}, err
	}
	in, err := decodeRange(c)
	if err != nil {
		return httpkit.Response{}, err
	}
	raw, _ := c.Body()
	made, replayed, err := a.svc.BackfillSchedule(ctx, c.who, id, in, idempotency(c, raw))
	if err != nil {
		return httpkit.Response{}, err
	}
	if replayed {
		c.SetHeader(apiv1.HeaderReplayed, "true")
	}
	out := apiv1.Backfill{ID: apiv1.ID(made.ID), Items: make([]apiv1.Slot, 0, len(made.Slots))}
	for _, slot := range made.Slots {
		out.Items = append(out.Items, slotOf(slot))
	}
	if made.ID == 0 {
		return httpkit.JSON(http.StatusOK, out)
	}
	return httpkit.JSON(http.StatusCreated, out)
}

func (a *api) listSlots(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := pathID(c, "id", "schedule")
	if err != nil {
		return httpkit.Response{}, err
	}
	f, err := slotFilter(c)
	if err != nil {
		return httpkit.Response{}, err
	}
	slots, next, err := a.svc.Slots(ctx, c.who, id, f)
	if err != nil {
		return httpkit.Response{}, err
	}
	out := apiv1.List[apiv1.Slot]{Items: make([]apiv1.Slot, 0, len(slots)), NextCursor: optional(next)}
	for _, slot := range slots {
		out.Items = append(out.Items, slotOf(slot))
	}
	return httpkit.JSON(http.StatusOK, out)
}

var outcomes = []schedule.Outcome{schedule.Fired, schedule.Held, schedule.SkippedByUser, schedule.SkippedOverlap, schedule.SkippedMisfire, schedule.FailedTemplate}

func slotFilter(c call) (schedule.SlotFilter, error) {
	var f schedule.SlotFilter
	var fields []task.FieldError
	for _, x := range []struct {
		name string
		to   *int64
	}{{"from", &f.From}, {"to", &f.To}} {
		if m, ok := queryTime(c, x.name); !ok {
			fields = append(fields, task.FieldError{Field: x.name, Rule: "format", Message: wantTime})
		} else {
			*x.to = m.V
		}
	}
	if v, ok := c.Query("outcome"); ok {
		for _, o := range outcomes {
			if o.String() == v {
				f.Outcome = o
			}
		}
		if f.Outcome == 0 {
			fields = append(fields, task.FieldError{Field: "outcome", Rule: "one_of", Message: "must be fired, held, skipped, skipped_overlap, skipped_misfire or failed_template"})
		}
	}
	f.Cursor, _ = c.Query("cursor")
	n, ok := limit(c)
	if f.Limit = n; !ok {
		fields = append(fields, task.FieldError{Field: "limit", Rule: "type", Message: "must be a whole number"})
	}
	return f, broken(fields)
}

const wantTime = "must be a time with zone like 2030-01-02T15:04:05.000Z"

// queryTime reads a time of the query; ok is false when it is none.
func queryTime(c call, name string) (m control.Maybe[int64], ok bool) {
	v, given := c.Query(name)
	if !given {
		return m, true
	}
	t, err := apiv1.ParseTime(v)
	return control.Some(int64(t)), err == nil && t > 0
}

func (a *api) previewSchedule(ctx context.Context, c call) (httpkit.Response, error) {
	in, err := decodePreview(c)
	if err != nil {
		return httpkit.Response{}, err
	}
	p, err := a.svc.Preview(ctx, c.who, in)
	return one(previewOf(p), err)
}

func (a *api) previewStored(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := pathID(c, "id", "schedule")
	if err != nil {
		return httpkit.Response{}, err
	}
	var bad []task.FieldError
	from, ok := queryTime(c, "from")
	if !ok {
		bad = append(bad, task.FieldError{Field: "from", Rule: "format", Message: wantTime})
	}
	var count control.Maybe[int64]
	if v, ok := c.Query("count"); ok {
		n, err := strconv.ParseInt(v, 10, 64)
		if count = control.Some(n); err != nil {
			count.Set, bad = false, append(bad, task.FieldError{Field: "count", Rule: "type", Message: "must be a whole number"})
		}
	}
	p, err := a.svc.PreviewSchedule(ctx, c.who, id, from, count, bad)
	return one(previewOf(p), err)
}

func previewOf(p control.Preview) apiv1.Preview {
	out := apiv1.Preview{Description: p.Words, Fires: make([]apiv1.Fire, 0, len(p.Fires))}
	for _, f := range p.Fires {
		out.Fires = append(out.Fires, apiv1.Fire{At: apiv1.Time(f.At), Local: f.Local, Note: f.Note, DueAt: apiv1.Time(f.DueAt)})
	}
	return out
}

// ifMatch is the guard of an If-Match header; nil without one.
func ifMatch(c call) control.Guard {
	if !c.HasHeader("If-Match") {
		return nil
	}
	want := c.Header("If-Match")
	return func(row schedule.Row) error {
		for part := range strings.SplitSeq(want, ",") {
			if part = strings.TrimSpace(part); part == "*" || versionOf(part) == row.Version {
				return nil
			}
		}
		return httpkit.ErrPrecondition
	}
}

// A schedule's tag is "version-hash". The hash changes with everything that is shown, also with what moves by itself, such as
// the next slot, so that If-None-Match is honest; If-Match looks at the version alone, which only clients and people change.
func scheduleTag(version int64, body []byte) string {
	return `"` + strconv.FormatInt(version, 10) + "-" + strings.Trim(httpkit.Tag(body), `"`) + `"`
}

// versionOf is the version in a tag; 0 when it is no tag of a schedule.
func versionOf(tag string) int64 {
	inner, ok := strings.CutPrefix(tag, `"`)
	if !ok {
		return 0
	}
	number, _, _ := strings.Cut(strings.TrimSuffix(inner, `"`), "-")
	v, err := strconv.ParseInt(number, 10, 64)
	if err != nil || v < 1 {
		return 0
	}
	return v
}

func answerSchedule(c call, sch control.Schedule, err error) (httpkit.Response, error) {
	if err != nil {
		return httpkit.Response{}, err
	}
	return respondSchedule(c, http.StatusOK, &sch)
}

func respondSchedule(c call, status int, sch *control.Schedule) (httpkit.Response, error) {
	wire := scheduleOf(sch)
	b, err := wire.AppendJSON(c.Scratch())
	if err != nil {
		return httpkit.Response{}, err
	}
	resp := httpkit.Appended(status, b)
	resp.ETag, resp.Tag = true, scheduleTag(sch.Version, b)
	return resp, nil
}
