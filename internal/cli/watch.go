package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// watchEvery is how often watched tasks are looked at. What happened in between is told with its own times.
const watchEvery = 150 * time.Millisecond

// change is one change of a task's state.
type change struct {
	Task  apiv1.ID   `json:"task"`
	At    apiv1.Time `json:"at"`
	State string     `json:"state"`
	Epoch int        `json:"epoch,omitempty"`
	Text  string     `json:"text,omitempty"`
	key   string
	order int
}

// watcher remembers which changes were told.
type watcher struct {
	ids   []string
	told  map[string]bool
	final map[string]string // id → state
}

func (p *program) watch() *cobra.Command {
	return &cobra.Command{
		Use: "watch ID...", Short: "Print every change of tasks until all are final", Args: arguments(1, 1000, "at least one id"),
		Long: "Prints every change of state with its time in milliseconds, also those that happened before. The exit code is 8 when\na task failed, 9 when one was cancelled.",
		RunE: p.connected(func(ctx context.Context, c *client, args []string) error {
			w := &watcher{told: map[string]bool{}, final: map[string]string{}}
			for _, id := range args {
				if _, err := taskPath(id); err != nil {
					return err
				}
				if !slices.Contains(w.ids, id) {
					w.ids = append(w.ids, id)
				}
			}
			return p.runWatch(ctx, c, w)
		}),
	}
}

// runWatch looks and tells until everything is final. A server that is away for a moment does not end it.
func (p *program) runWatch(ctx context.Context, c *client, w *watcher) error {
	away := false
	for first := true; ; first = false {
		list, _, err := fetch[apiv1.TaskList](ctx, c, get("/v1/tasks", p.parameters("ids", strings.Join(w.ids, ","))))
		switch {
		case err == nil:
			away = false
		case first || ctx.Err() != nil || exitCode(err) != ExitUnavailable:
			return err
		case !away:
			away = true
			p.note("no answer for the moment, still trying")
		}
		if first {
			if err := w.missing(list.Items); err != nil {
				return err
			}
		}
		if err := p.tell(w, list.Items); err != nil {
			return err
		}
		if len(w.final) == len(w.ids) {
			return w.verdict()
		}
		if err := c.pause(ctx, watchEvery); err != nil {
			return err
		}
	}
}

// missing names ids that are unknown or another app's.
func (w *watcher) missing(found []apiv1.Task) error {
	var lost []string
	for _, id := range w.ids {
		if !slices.ContainsFunc(found, func(t apiv1.Task) bool { return t.ID.String() == id }) {
			lost = append(lost, id)
		}
	}
	if len(lost) > 0 {
		return &exitError{code: ExitNotFound, err: errors.New("no such task: " + strings.Join(lost, ", "))}
	}
	return nil
}

// verdict is an error unless everything succeeded.
func (w *watcher) verdict() error {
	var states []string
	for _, state := range w.final {
		states = append(states, state)
	}
	return verdict(states...)
}

// verdict is an error unless all final tasks succeeded: a failed one counts more than a cancelled one.
func verdict(states ...string) error {
	switch {
	case slices.Contains(states, apiv1.StateFailed):
		return &exitError{code: ExitTaskFailed, err: errors.New("not every task succeeded"), silent: true}
	case slices.Contains(states, apiv1.StateCancelled):
		return &exitError{code: ExitTaskStopped, err: errors.New("not every task succeeded"), silent: true}
	}
	return nil
}

// tell prints what is new, in the order in which it happened.
func (p *program) tell(w *watcher, tasks []apiv1.Task) error {
	var fresh []change
	for _, t := range tasks {
		for i, c := range changes(t) {
			if key := c.Task.String() + " " + c.key; !w.told[key] {
				w.told[key] = true
				c.order = i
				fresh = append(fresh, c)
			}
		}
		if apiv1.Final(t.State) {
			w.final[t.ID.String()] = t.State
		} else {
			delete(w.final, t.ID.String()) // somebody retried it
		}
	}
	slices.SortStableFunc(fresh, func(a, b change) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.order, b.order)) })
	for _, c := range fresh {
		if p.json() {
			if err := p.printJSON(c); err != nil {
				return err
			}
			continue
		}
		state := fmt.Sprintf("%-9s", c.State)
		if p.terminal().colour {
			state = styled(state, stateStyle(c.State))
		}
		if _, err := fmt.Fprintf(p.Out, "%s  %s  %s %s\n", timeOfDay(c.At), c.Task, state, printable(c.Text)); err != nil {
			return err
		}
	}
	return nil
}

// changes derives from a task everything that has happened to it. The attempts carry their own times, so that nothing
// between two looks is missed. A change keeps its key from look to look.
func changes(t apiv1.Task) []change {
	out := []change{birth(t)}
	for i, a := range t.Attempts {
		out = append(out, change{
			Task: t.ID, At: a.StartedAt, State: apiv1.StateRunning, Epoch: a.Epoch, Text: fmt.Sprintf("attempt %d on worker %s", a.Epoch, a.Worker), key: fmt.Sprint("start ", a.Epoch),
		})
		if a.FinishedAt != 0 {
			out = append(out, ended(t, a, i == len(t.Attempts)-1))
		}
	}
	if last := out[len(out)-1]; apiv1.Final(t.State) && !apiv1.Final(last.State) {
		out = append(out, change{Task: t.ID, At: t.FinishedAt, State: t.State, Text: t.Reason, key: fmt.Sprint("final ", int64(t.FinishedAt))})
	}
	return out
}

// birth is how a task began: due at once or later. Its due time moves with every retry, so it tells only before the second
// attempt.
func birth(t apiv1.Task) change {
	c := change{Task: t.ID, At: t.CreatedAt, State: apiv1.StateQueued, Text: t.Kind + " in " + t.Queue, key: "birth"}
	untouched := len(t.Attempts) == 0 || len(t.Attempts) == 1 && t.RunAt <= t.Attempts[0].StartedAt
	if untouched && t.RunAt > t.CreatedAt {
		c.State, c.Text = apiv1.StateScheduled, c.Text+", due "+local(t.RunAt)
	}
	return c
}

// ended is what the end of an attempt made of the task.
func ended(t apiv1.Task, a apiv1.Attempt, last bool) change {
	c := change{Task: t.ID, At: a.FinishedAt, State: apiv1.StateQueued, Epoch: a.Epoch, key: fmt.Sprint("end ", a.Epoch)}
	c.Text = fmt.Sprintf("attempt %d %s after %s", a.Epoch, strings.ReplaceAll(a.Outcome, "_", " "), span(a.StartedAt, a.FinishedAt))
	if e := errorText(a.Error); e != "" {
		c.Text += ": " + shorten(e, 160)
	}
	switch {
	case last && apiv1.Final(t.State) && t.FinishedAt == a.FinishedAt:
		c.State = t.State
		if t.Reason != "" {
			c.Text += ", " + t.Reason
		}
	case last && t.State == apiv1.StateScheduled:
		c.State, c.Text = apiv1.StateScheduled, c.Text+", again at "+local(t.RunAt)
	}
	return c
}
