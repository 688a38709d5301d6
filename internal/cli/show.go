package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

const taskHeader = "ID STATE KIND QUEUE PRIORITY CREATED DUE TOOK ERROR"

func (p *program) taskRow(t apiv1.Task) []string {
	state := t.State
	if t.Reason != "" {
		state += " (" + t.Reason + ")"
	}
	return []string{t.ID.String(), state, t.Kind, t.Queue, t.Priority, p.when(t.CreatedAt), p.when(t.RunAt), span(t.StartedAt, t.FinishedAt), shorten(errorText(t.Error), 60)}
}

func errorText(e *apiv1.TaskError) string {
	if e == nil {
		return ""
	}
	text := e.Code
	if e.HTTPStatus != 0 && !strings.Contains(text, fmt.Sprint(e.HTTPStatus)) {
		text += fmt.Sprintf(" %d", e.HTTPStatus)
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return strings.TrimPrefix(text, ": ")
}

// printTask shows one task whole.
func (p *program) printTask(t apiv1.Task) error {
	state := t.State
	if t.Reason != "" {
		state += " (" + t.Reason + ")"
	}
	if t.Zombie {
		state += ", zombie: its handler ignores that its time is over"
	}
	verdict := ""
	if t.Verdict != nil && !apiv1.Final(t.State) {
		verdict = t.Verdict.Code + ": " + t.Verdict.Text
	}
	timeout := milliseconds(t.TimeoutMs)
	if t.TimeoutMs < 0 {
		timeout = "none"
	}
	retryOf := ""
	if t.RetryOf != 0 {
		retryOf = t.RetryOf.String()
	}
	p.fields([][2]string{
		{"id", t.ID.String()}, {"state", state}, {"why", verdict}, {"kind", t.Kind}, {"queue", t.Queue + ", " + t.Priority}, {"app", t.App},
		{"created", p.whenFull(t.CreatedAt)}, {"due", p.whenFull(t.RunAt)}, {"started", p.whenFull(t.StartedAt)}, {"finished", p.whenFull(t.FinishedAt)},
		{"took", span(t.StartedAt, t.FinishedAt)}, {"expires", p.whenFull(t.ExpiresAt)}, {"timeout", timeout},
		{"retries", fmt.Sprintf("%d of %d used, %s", min(t.Failures, t.Retry.Max), t.Retry.Max, t.Retry.Policy)}, {"retry of", retryOf},
		{"schedule", scheduled(t)}, {"unique key", t.UniqueKey}, {"limit key", t.LimitKey}, {"labels", labelText(t.Labels)}, {"cancel asked", p.whenFull(t.CancelRequestedAt)},
		{"completion", t.CompletionURL}, {"complete by", p.whenFull(t.CompleteBy)}, {"progress", progressText(t)},
		{"error", errorText(t.Error)}, {"payload", shorten(string(t.Payload), 2000)}, {"result", resultText(t)},
	})
	if len(t.Attempts) == 0 {
		return nil
	}
	var rows [][]string
	for _, a := range t.Attempts {
		outcome := a.Outcome
		if outcome == "" {
			outcome = "running"
		}
		rows = append(rows, []string{fmt.Sprint(a.Epoch), a.ID.String(), a.Worker.String(), p.instant(a.StartedAt), span(a.StartedAt, a.FinishedAt), outcome, shorten(errorText(a.Error), 80)})
	}
	return p.section("EPOCH ATTEMPT WORKER STARTED TOOK OUTCOME ERROR", rows)
}

func scheduled(t apiv1.Task) string {
	if t.ScheduleID == 0 {
		return ""
	}
	return fmt.Sprintf("%s, slot %s", t.ScheduleID, t.Slot)
}

func progressText(t apiv1.Task) string {
	if text := string(t.Progress); text != "null" {
		return shorten(text, 400)
	}
	return ""
}

func resultText(t apiv1.Task) string {
	text := string(t.Result)
	if text == "null" && t.State != apiv1.StateSucceeded {
		return ""
	}
	if t.ResultTruncated {
		return shorten(text, 2000) + " (cut)"
	}
	return shorten(text, 2000)
}

func labelText(labels map[string]string) string {
	var parts []string
	for k, v := range labels {
		parts = append(parts, k+"="+v)
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
