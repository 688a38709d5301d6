package client

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// Schedules are what makes tasks by the clock.
type Schedules struct{ c *Client }

// Create makes a schedule. A name that is taken is a conflict; ConflictingSchedule names who has it.
func (s Schedules) Create(ctx context.Context, in apiv1.ScheduleInput, opts ...CallOption) (*apiv1.Schedule, error) {
	r, err := scheduleBody(post("/v1/schedules").inApp().keyed(), &in)
	if err != nil {
		return nil, err
	}
	return fetch[apiv1.Schedule](ctx, s.c, r, opts)
}

// Ensure makes the schedule, or replaces the one that has its name: what a program calls at its start. Tasks that exist stay.
func (s Schedules) Ensure(ctx context.Context, in apiv1.ScheduleInput, opts ...CallOption) (*apiv1.Schedule, error) {
	made, err := s.Create(ctx, in, opts...)
	if id, taken := ConflictingSchedule(err); taken {
		return s.Replace(ctx, id, in, opts...)
	}
	return made, err
}

func scheduleBody(r *request, in *apiv1.ScheduleInput) (*request, error) {
	err := sendable(&in.Task)
	if err == nil {
		r.body, err = in.AppendJSON(nil)
	}
	if err != nil {
		return nil, fmt.Errorf("taskweir: schedule %q: %w", in.Name, err)
	}
	return r, nil
}

// ScheduleFilter chooses schedules; what is zero chooses all.
type ScheduleFilter struct {
	Name   string // exactly
	Paused *bool
	Page   Page
}

// List yields schedules, newest first.
func (s Schedules) List(ctx context.Context, f ScheduleFilter, opts ...CallOption) iter.Seq2[apiv1.Schedule, error] {
	return pages[apiv1.Schedule](ctx, s.c, func() *request {
		r := get("/v1/schedules").inApp().with("name", f.Name)
		if f.Paused != nil {
			r.with("paused", strconv.FormatBool(*f.Paused))
		}
		return r.page(f.Page)
	}, opts)
}

// Get reads a schedule.
func (s Schedules) Get(ctx context.Context, id apiv1.ID, opts ...CallOption) (*apiv1.Schedule, error) {
	return fetch[apiv1.Schedule](ctx, s.c, get("/v1/schedules/%s", id.String()).inApp(), opts)
}

// Replace changes all of a schedule; only Paused, left out, stays. IfVersion makes sure that nobody else changed it meanwhile.
func (s Schedules) Replace(ctx context.Context, id apiv1.ID, in apiv1.ScheduleInput, opts ...CallOption) (*apiv1.Schedule, error) {
	r, err := scheduleBody(put("/v1/schedules/%s", id.String()).inApp(), &in)
	if err != nil {
		return nil, err
	}
	return fetch[apiv1.Schedule](ctx, s.c, r, opts)
}

// Delete ends a schedule. What it made and has not been started is cancelled.
func (s Schedules) Delete(ctx context.Context, id apiv1.ID, opts ...CallOption) error {
	return s.c.remove(ctx, to("DELETE", "/v1/schedules/%s", id.String()).inApp(), opts)
}

// Pause stops a schedule from its next slot on.
func (s Schedules) Pause(ctx context.Context, id apiv1.ID, opts ...CallOption) (*apiv1.Schedule, error) {
	return fetch[apiv1.Schedule](ctx, s.c, post("/v1/schedules/%s/pause", id.String()).inApp(), opts)
}

// Resume lets a schedule go on.
func (s Schedules) Resume(ctx context.Context, id apiv1.ID, opts ...CallOption) (*apiv1.Schedule, error) {
	return fetch[apiv1.Schedule](ctx, s.c, post("/v1/schedules/%s/resume", id.String()).inApp(), opts)
}

// Trigger makes a run now. The slot has no task yet, and outcome held, while an earlier run has to end first.
func (s Schedules) Trigger(ctx context.Context, id apiv1.ID, opts ...CallOption) (*apiv1.Slot, error) {
	return fetch[apiv1.Slot](ctx, s.c, post("/v1/schedules/%s/trigger", id.String()).inApp().keyed(), opts)
}

// SkipNext takes the next slot out and gives it.
func (s Schedules) SkipNext(ctx context.Context, id apiv1.ID, opts ...CallOption) (*apiv1.Slot, error) {
	return fetch[apiv1.Slot](ctx, s.c, post("/v1/schedules/%s/skip-next", id.String()).inApp().once(), opts)
}

// Backfill makes runs for the planned slots of [from, to), which must not be in the future.
func (s Schedules) Backfill(ctx context.Context, id apiv1.ID, from, to time.Time, opts ...CallOption) (*apiv1.Backfill, error) {
	r, err := post("/v1/schedules/%s/backfill", id.String()).inApp().keyed().json(apiv1.BackfillRange{From: apiv1.TimeOf(from), To: apiv1.TimeOf(to)})
	if err != nil {
		return nil, err
	}
	return fetch[apiv1.Backfill](ctx, s.c, r, opts)
}

// SlotFilter chooses slots; what is zero chooses all.
type SlotFilter struct {
	From, To time.Time // [From, To)
	Outcome  string    // apiv1.SlotFired, …
	Page     Page
}

// Slots yields what became of a schedule's slots, newest first.
func (s Schedules) Slots(ctx context.Context, id apiv1.ID, f SlotFilter, opts ...CallOption) iter.Seq2[apiv1.Slot, error] {
	return pages[apiv1.Slot](ctx, s.c, func() *request {
		return get("/v1/schedules/%s/slots", id.String()).inApp().with("from", instant(f.From)).with("to", instant(f.To)).with("outcome", f.Outcome).page(f.Page)
	}, opts)
}

// Preview says when a schedule would fire; nothing is stored.
func (s Schedules) Preview(ctx context.Context, in apiv1.SchedulePreview, opts ...CallOption) (*apiv1.Preview, error) {
	r, err := post("/v1/schedules/preview").json(in)
	if err != nil {
		return nil, err
	}
	return fetch[apiv1.Preview](ctx, s.c, r, opts)
}

// Next says when a schedule fires next: count times (0: five) strictly after from (zero: now), the jitter of each included.
func (s Schedules) Next(ctx context.Context, id apiv1.ID, from time.Time, count int, opts ...CallOption) (*apiv1.Preview, error) {
	r := get("/v1/schedules/%s/preview", id.String()).inApp().with("from", instant(from))
	if count != 0 {
		r.with("count", strconv.Itoa(count))
	}
	return fetch[apiv1.Preview](ctx, s.c, r, opts)
}
