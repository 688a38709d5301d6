package rest

import (
	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// scheduleOf is a schedule as the API shows it.
func scheduleOf(s *control.Schedule) apiv1.Schedule {
	d := s.Rule
	out := apiv1.Schedule{
		ID: apiv1.ID(s.ID), App: s.AppKey, Version: s.Version, Name: s.Name, Description: s.Words, Zone: d.Zone,
		Spec: apiv1.ScheduleSpecInForce{Cron: d.Spec.Cron, Dialect: string(d.Spec.Dialect), EveryMs: d.Spec.EveryMs,
			Anchor: apiv1.Time(d.Spec.Anchor), At: apiv1.Time(d.Spec.At)},
		DSTGap: string(d.DSTGap), DSTOverlap: string(d.DSTOverlap), Overlap: d.Overlap.String(), JitterMs: d.JitterMs,
		Misfire: apiv1.MisfireInForce{Policy: d.Misfire.String(), MaxAgeMs: d.MaxAgeMs},
		StartAt: apiv1.Time(d.StartAt), EndAt: apiv1.Time(d.EndAt),
		MaxConsecutiveFailures: d.MaxFailures, ConsecutiveFailures: s.Failures,
		Paused: s.Pause != schedule.NotPaused, PausedReason: optional(s.Pause.String()), Labels: d.Labels,
		CreatedAt: apiv1.Time(s.CreatedAt), UpdatedAt: apiv1.Time(s.UpdatedAt), Task: scheduleTaskOf(&d.Task),
	}
	if s.NextAt != schedule.Never {
		out.NextAt = apiv1.Time(s.NextAt)
	}
	return out
}

func scheduleTaskOf(t *schedule.Template) apiv1.ScheduleTask {
	head := &t.Head
	out := apiv1.ScheduleTask{Kind: t.Kind, Queue: t.Queue, Priority: t.Priority.String(), TimeoutMs: int64(t.TimeoutMs),
		Retry: retryOf(head.RetryPolicy()), LimitKey: optional(head.LimitKey), Labels: head.Labels, CompletionURL: optional(head.CompletionURL), Payload: t.Payload}
	if head.UniqueKey != "" {
		out.UniqueKey = optional(head.UniqueKey)
		out.UniqueScope = optional(control.UniqueScopeName(head.UniqueScope))
		out.UniqueOnConflict = optional(control.UniqueConflictName(t.OnConflict))
	}
	if head.UniqueScope == task.ScopeWindow {
		out.UniqueWindowMs = &head.UniqueWindowMs
	}
	return out
}

// optional is null for "".
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// slotOf is a slot as the API shows it.
func slotOf(s schedule.Slot) apiv1.Slot {
	out := apiv1.Slot{Slot: apiv1.Time(s.At), LastSlot: apiv1.Time(s.LastAt), Count: s.Count, TaskID: apiv1.ID(s.TaskID),
		Outcome: s.Outcome.String(), FiredAt: apiv1.Time(s.FiredAt), Detail: optional(s.Detail), Origin: "planned"}
	switch {
	case s.Origin >= schedule.FirstBackfill:
		out.Origin, out.Backfill = "backfill", apiv1.ID(s.Origin)
	case s.Origin == schedule.Manual:
		out.Origin = "manual"
	}
	return out
}
