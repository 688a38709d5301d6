package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (p *program) printTasks(tasks []apiv1.Task) error {
	var rows [][]string
	for _, t := range tasks {
		state := t.State
		if t.Reason != "" {
			state += " (" + t.Reason + ")"
		}
		rows = append(rows, []string{t.ID.String(), state, t.Kind, t.Queue, t.Priority, local(t.CreatedAt), local(t.RunAt), span(t.StartedAt, t.FinishedAt), shorten(errorText(t.Error), 60)})
	}
	return p.table("ID STATE KIND QUEUE PRIORITY CREATED DUE TOOK ERROR", rows)
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

// fields prints names and values below each other; empty values are left out.
func (p *program) fields(list [][2]string) {
	for _, f := range list {
		if f[1] != "" {
			_, _ = fmt.Fprintf(p.Out, "%-12s %s\n", f[0]+":", printable(f[1]))
		}
	}
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
		{"created", local(t.CreatedAt)}, {"due", local(t.RunAt)}, {"started", local(t.StartedAt)}, {"finished", local(t.FinishedAt)},
		{"took", span(t.StartedAt, t.FinishedAt)}, {"expires", local(t.ExpiresAt)}, {"timeout", timeout},
		{"retries", fmt.Sprintf("%d of %d used, %s", min(t.Failures, t.Retry.Max), t.Retry.Max, t.Retry.Policy)}, {"retry of", retryOf},
		{"unique key", t.UniqueKey}, {"labels", labelText(t.Labels)}, {"cancel asked", local(t.CancelRequestedAt)},
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
		rows = append(rows, []string{fmt.Sprint(a.Epoch), a.ID.String(), a.Worker.String(), local(a.StartedAt), span(a.StartedAt, a.FinishedAt), outcome, shorten(errorText(a.Error), 80)})
	}
	_, _ = fmt.Fprintln(p.Out)
	return p.table("EPOCH ATTEMPT WORKER STARTED TOOK OUTCOME ERROR", rows)
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
