package load

import (
	"context"
	"fmt"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
	"github.com/taskweir/taskweir/pkg/client"
	"github.com/taskweir/taskweir/test/faults/history"
)

const (
	slotEvery = 1000     // ms
	farSlots  = 60000    // ms, where clocks are moved: an hour has few enough of them to be made up for at once
	slotAge   = 86400000 // ms: no slot of a run is too old to be fired late
)

// makeSchedules makes schedules that fire each second and make up for every slot that was missed; each minute where clocks are moved.
func (l *Load) makeSchedules(ctx context.Context) error {
	every := int64(slotEvery)
	if l.o.Shifting {
		every = farSlots
	}
	for i := range max(l.o.Schedules, 0) {
		payload := fmt.Appendf(nil, `{"url":"%s/http","body":{"tag":"","queue":"%s","slot":"{{slot}}"}}`, l.sink.url, l.queue(plain+"0"))
		in := apiv1.ScheduleInput{Name: fmt.Sprintf("%s-%d", l.name, i), Spec: apiv1.ScheduleSpec{EveryMs: every, Anchor: new(apiv1.Time(int64(i) * 137))},
			Misfire: &apiv1.ScheduleMisfire{Policy: "all", MaxAgeMs: new(int64(slotAge))},
			Task:    apiv1.Submit{Kind: "http", Queue: l.queue(plain + "0"), Payload: payload, Retry: &apiv1.Retry{Policy: apiv1.RetryFixed, BaseMs: new(int64(200))}}}
		made, err := l.apis[0].Schedules.Create(ctx, in)
		if err != nil {
			return fmt.Errorf("load: make a schedule: %w", err)
		}
		from := int64(made.CreatedAt) + every
		from += (int64(i)*137 - from%every + 2*every) % every
		l.schedules = append(l.schedules, history.Schedule{ID: int64(made.ID), EveryMs: every, Anchor: int64(i) * 137, From: from})
	}
	return nil
}

// pauseSchedules waits until each schedule has fired all that was due, pauses it, and notes up to where it must have fired. Where clocks are
// moved that is a question of whose clock: then no slot must be there, but each has one row and one task, and is on the schedule's grid.
func (l *Load) pauseSchedules(ctx context.Context) error {
	for i := range l.schedules {
		s := &l.schedules[i]
		id := apiv1.ID(s.ID)
		if l.o.Shifting {
			s.From, s.To = 0, -1
		}
		for s.To == 0 {
			now, err := l.db.now(ctx)
			if err == nil {
				var next int64
				if next, err = l.db.nextSlot(ctx, s.ID); err == nil && next > now {
					s.To = now - (now-s.Anchor)%s.EveryMs // what was made further ahead is taken back
					break
				}
			}
			if wait(ctx, 200*time.Millisecond); ctx.Err() != nil {
				return fmt.Errorf("load: schedule %d does not catch up: %w", s.ID, ctx.Err())
			}
		}
		o := l.call(ctx, history.Op{Kind: history.OpPause, Schedule: s.ID}, func(ctx context.Context, c *client.Client, opts ...client.CallOption) ([]history.Item, error) {
			_, err := c.Schedules.Pause(ctx, id, opts...)
			return nil, err
		})
		if !o.Done() {
			return fmt.Errorf("load: pause schedule %d: %d %s", s.ID, o.Status, o.Code)
		}
	}
	return nil
}
