package cli

import (
	"fmt"
	"strings"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (s *scheduleCommands) scheduleRow(x apiv1.Schedule) []string {
	return []string{x.ID.String(), x.Name, scheduleState(x), s.when(x.NextAt), x.Task.Kind, x.Overlap, shorten(x.Description, 80)}
}

func scheduleState(x apiv1.Schedule) string {
	switch {
	case x.PausedReason != nil:
		return "paused (" + *x.PausedReason + ")"
	case x.NextAt == 0:
		return "ended"
	}
	return "active"
}

// printSchedule shows one whole.
func (s *scheduleCommands) printSchedule(x apiv1.Schedule) {
	failures := ""
	if x.ConsecutiveFailures > 0 || x.MaxConsecutiveFailures > 0 {
		failures = fmt.Sprintf("%d in a row", x.ConsecutiveFailures)
	}
	if x.MaxConsecutiveFailures > 0 {
		failures += fmt.Sprintf(", paused at %d", x.MaxConsecutiveFailures)
	}
	jitter := ""
	if x.JitterMs > 0 {
		jitter = "up to " + milliseconds(x.JitterMs)
	}
	t := x.Task
	timeout := milliseconds(t.TimeoutMs)
	if t.TimeoutMs < 0 {
		timeout = "none"
	}
	unique, limitKey := "", ""
	if t.UniqueKey != nil {
		unique = *t.UniqueKey + ", " + *t.UniqueScope + ", " + *t.UniqueOnConflict
	}
	if t.LimitKey != nil {
		limitKey = *t.LimitKey
	}
	s.fields([][2]string{
		{"id", fmt.Sprintf("%s, version %d", x.ID, x.Version)}, {"name", x.Name}, {"state", scheduleState(x)}, {"next", s.whenFull(x.NextAt)},
		{"when", x.Description}, {"spec", specText(x.Spec)}, {"zone", x.Zone}, {"clock change", "gap " + x.DSTGap + ", overlap " + x.DSTOverlap},
		{"misfire", x.Misfire.Policy + ", up to " + milliseconds(x.Misfire.MaxAgeMs) + " late"}, {"overlap", x.Overlap}, {"jitter", jitter},
		{"start", s.whenFull(x.StartAt)}, {"end", s.whenFull(x.EndAt)}, {"failures", failures}, {"labels", labelText(x.Labels)}, {"app", x.App},
		{"created", s.whenFull(x.CreatedAt)}, {"updated", s.whenFull(x.UpdatedAt)},
		{"task", strings.Join([]string{t.Kind, t.Queue, t.Priority}, ", ")}, {"timeout", timeout},
		{"retries", fmt.Sprintf("%d, %s", t.Retry.Max, t.Retry.Policy)}, {"unique key", unique}, {"limit key", limitKey}, {"task labels", labelText(t.Labels)},
		{"payload", shorten(string(t.Payload), 2000)},
	})
}

func specText(s apiv1.ScheduleSpecInForce) string {
	switch {
	case s.Cron != "":
		return s.Cron + " (" + s.Dialect + ")"
	case s.EveryMs != 0:
		return "every " + milliseconds(s.EveryMs)
	}
	return "at " + s.At.String()
}

func (s *scheduleCommands) slotRow(x apiv1.Slot) []string {
	origin, at, id, detail := x.Origin, s.instant(x.Slot), "", ""
	if x.Backfill != 0 {
		origin += " " + x.Backfill.String()
	}
	if x.Count > 1 {
		at = fmt.Sprintf("%s … %s (%d)", at, s.instant(x.LastSlot), x.Count)
	}
	if x.TaskID != 0 {
		id = x.TaskID.String()
	}
	if x.Detail != nil {
		detail = shorten(*x.Detail, 80)
	}
	return []string{at, x.Outcome, origin, id, s.when(x.FiredAt), detail}
}

// caret shows a text and ^^^ under the place that a rule refused; empty when there is none.
func caret(place *apiv1.Place) string {
	if place == nil {
		return ""
	}
	runes := []rune(place.Text)
	if place.At < 0 || place.Length < 0 || place.At+place.Length > len(runes) {
		return ""
	}
	for i, r := range runes { // what is not one column wide would shift the line below
		switch {
		case r == '\t':
			runes[i] = ' '
		case r < ' ' || r >= 0x7f:
			runes[i] = '?'
		}
	}
	const indent = "\n    "
	return indent + string(runes) + indent + strings.Repeat(" ", place.At) + strings.Repeat("^", max(1, place.Length))
}
