package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (p *program) tasks() *cobra.Command {
	cmd := group("tasks", "Submit, look at and control tasks", `A task is one piece of work: a kind, a payload, a queue, when it is due, how often it is retried.

  taskweir tasks submit http --payload '{"url": "https://example.org/hook"}' --wait
  taskweir tasks list --state failed --from 24h
  taskweir tasks get 17          why it is where it is, its attempts
  taskweir tasks log 17 -f       its output, live`)
	p.apiFlags(cmd)
	p.appFlag(cmd)
	cmd.AddCommand(p.submit(), p.submitBatch(), p.getTasks(), p.listTasks(), p.waitTasks(), p.watch(), p.taskEvents(), p.cancel(), p.retry(), p.taskLog(), p.taskStack(), p.taskDelivery(), p.completeTask(),
		p.eachTask("resend ID...", "Send once more what tasks send: final ones again, waiting ones now", "/resend"),
		p.eachTask("run-now ID...", "Start waiting tasks now instead of at their time", "/run-now"),
		p.eachTask("abandon ID...", "Close zombies: attempts whose handler ignores that its time is over", "/abandon"))
	return cmd
}

// forEach does it for every name, tells every error, and gives the first one's exit code.
func forEach(names []string, do func(name string) error) error {
	var errs []error
	for _, name := range names {
		if err := do(name); err != nil {
			if len(names) > 1 {
				err = fmt.Errorf("%s: %w", name, err)
			}
			errs = append(errs, err)
			if code := exitCode(err); code == ExitUnavailable || code == ExitCredentials || code == ExitTimeout || code == ExitInterrupted {
				break // the others would fail alike
			}
		}
	}
	if len(errs) == 0 {
		return nil
	}
	silent := !slices.ContainsFunc(errs, func(err error) bool {
		var own *exitError
		return !errors.As(err, &own) || !own.silent
	})
	return &exitError{code: exitCode(errs[0]), err: errors.Join(errs...), silent: silent}
}

func taskPath(id string) (string, error) {
	if _, err := apiv1.ParseID(id); err != nil {
		return "", usage(fmt.Errorf("%w: an id is a number like 1234", err))
	}
	return "/v1/tasks/" + id, nil
}

func (p *program) getTasks() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{Use: "get ID...", Short: "Show tasks with their attempts, and why they are where they are", Args: arguments(1, -1, "at least one id")}
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait up to this long (30s at most) until the task is final")
	cmd.RunE = p.live(cmd, func(ctx context.Context, c *client, args []string) error {
		return forEach(args, func(id string) error {
			path, err := taskPath(id)
			if err != nil {
				return err
			}
			t, raw, err := fetch[apiv1.Task](ctx, c, get(path, p.withApp(waitQuery(wait))))
			if err != nil || p.json() {
				return p.rawUnless(err, raw)
			}
			return p.printTask(t)
		})
	})
	return cmd
}

func waitQuery(wait time.Duration) url.Values {
	if wait <= 0 {
		return nil
	}
	return url.Values{"wait": {wait.String()}}
}

// taskFilter are the flags that choose tasks, of lists and of bulk operations.
type taskFilter struct{ state, queue, kind, label, unique, from, to string }

func (f *taskFilter) add(p *program, cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.state, "state", "", "scheduled, queued, running, succeeded, failed, cancelled or blocked")
	fs.StringVar(&f.queue, "queue", "", "of this queue")
	fs.StringVar(&f.kind, "kind", "", "of this kind")
	fs.StringVar(&f.label, "label", "", "with this label, key=value")
	fs.StringVar(&f.unique, "unique-key", "", "with this unique key")
	fs.StringVar(&f.from, "from", "", "created at or after this time (RFC 3339), or an age like 15m, 24h, 7d")
	fs.StringVar(&f.to, "to", "", "created before this time, or longer ago than this")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{"scheduled", "queued", "running", "succeeded", "failed", "cancelled", "blocked"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("queue", p.complete(completeQueues))
	_ = cmd.RegisterFlagCompletionFunc("kind", p.complete(completeKinds))
}

// times reads --from and --to; 0 where it is not given. Ages are reckoned by the server's clock.
func (f *taskFilter) times(ctx context.Context, c *client) (from, to apiv1.Time, err error) {
	if from, err = c.timeFlag(ctx, "from", f.from); err == nil {
		to, err = c.timeFlag(ctx, "to", f.to)
	}
	return from, to, err
}

// labelParts reads --label.
func (f *taskFilter) labelParts() (key, value string, err error) {
	if f.label == "" {
		return "", "", nil
	}
	i := strings.IndexAny(f.label, "=:")
	if i < 1 {
		return "", "", usage(fmt.Errorf("--label: %q is not key=value", f.label))
	}
	return f.label[:i], f.label[i+1:], nil
}

// query is the filter as query parameters.
func (f *taskFilter) query(ctx context.Context, p *program, c *client) (url.Values, error) {
	key, value, err := f.labelParts()
	if err != nil {
		return nil, err
	}
	q := p.parameters("state", f.state, "queue", f.queue, "kind", f.kind, "uniqueKey", f.unique)
	if key != "" {
		q.Set("label", key+":"+value)
	}
	from, to, err := f.times(ctx, c)
	for name, at := range map[string]apiv1.Time{"from": from, "to": to} {
		if at != 0 {
			q.Set(name, at.String())
		}
	}
	return q, err
}

// timeFlag reads a time, or an age by the server's clock; 0 for "".
func (c *client) timeFlag(ctx context.Context, flag, text string) (apiv1.Time, error) {
	if text == "" {
		return 0, nil
	}
	return flagTime(flag, text, func() (apiv1.Time, error) {
		if c.clock.at() == 0 {
			if _, err := c.call(ctx, request{method: http.MethodGet, path: "/healthz", open: true}); err != nil {
				return 0, err
			}
		}
		if c.clock.at() == 0 {
			return 0, fmt.Errorf("%s does not tell its time: give --%s as a time", c.base, flag)
		}
		return c.clock.at(), nil
	})
}

func (p *program) listTasks() *cobra.Command {
	var f taskFilter
	var page pageFlags
	cmd := &cobra.Command{Use: "list", Short: "List tasks, newest first (scheduled and queued ones in due order)", Args: arguments(0, 0, "")}
	f.add(p, cmd)
	page.add(cmd.Flags(), 50)
	cmd.RunE = p.live(cmd, func(ctx context.Context, c *client, _ []string) error {
		query, err := f.query(ctx, p, c)
		if err != nil {
			return err
		}
		return printList(ctx, p, c, "/v1/tasks", query, &page, taskHeader, p.taskRow)
	})
	return cmd
}

func (p *program) cancel() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{Use: "cancel ID...", Short: "Cancel tasks; running ones are stopped", Args: arguments(1, -1, "at least one id")}
	cmd.Flags().DurationVar(&wait, "wait", 5*time.Second, "wait up to this long (30s at most) until a running task has stopped")
	cmd.RunE = p.connected(func(ctx context.Context, c *client, args []string) error {
		return forEach(args, func(id string) error { return p.act(ctx, c, id, "/cancel", p.withApp(waitQuery(wait)), nil) })
	})
	return cmd
}

func (p *program) retry() *cobra.Command {
	var force bool
	var payload string
	cmd := &cobra.Command{
		Use: "retry ID...", Short: "Run final tasks again, or with --payload a changed copy", Args: arguments(1, -1, "at least one id"),
		Long: "Puts failed and cancelled tasks (with --force also succeeded ones) back into their queue: same id, a new budget of retries.\nPayloads are written once: with --payload a new task is made that names the old one.",
	}
	cmd.Flags().BoolVar(&force, "force", false, "also a task that succeeded")
	cmd.Flags().StringVar(&payload, "payload", "", "make a new task with this JSON (@file, - for standard input)")
	cmd.RunE = p.connected(func(ctx context.Context, c *client, args []string) error {
		raw, err := json.Marshal(apiv1.RetryTask{Force: force})
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		if cmd.Flags().Changed("payload") {
			payload, err := p.payload(payload)
			if err != nil {
				return err
			}
			raw = withPayload(raw, payload)
		}
		return forEach(args, func(id string) error { return p.act(ctx, c, id, "/retry", p.withApp(nil), raw) })
	})
	return cmd
}

// withPayload puts a payload into a JSON object, byte for byte: encoding/json would rewrite it.
func withPayload(object, payload []byte) []byte {
	out := append([]byte(nil), object[:len(object)-1]...)
	if len(out) > 1 {
		out = append(out, ',')
	}
	out = append(out, `"payload":`...)
	return append(append(out, payload...), '}')
}

func (p *program) eachTask(use, short, verb string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: arguments(1, -1, "at least one id"),
		RunE: p.connected(func(ctx context.Context, c *client, args []string) error {
			return forEach(args, func(id string) error { return p.act(ctx, c, id, verb, p.withApp(nil), nil) })
		}),
	}
}

// act POSTs to a task and prints how it stands then.
func (p *program) act(ctx context.Context, c *client, id, verb string, query url.Values, body []byte) error {
	path, err := taskPath(id)
	if err != nil {
		return err
	}
	r := post(path+verb, query, body)
	if verb == "/retry" && body != nil && bytes.Contains(body, []byte(`"payload":`)) {
		r.idempotency = rand.Text() // it makes a task
	}
	t, raw, err := fetch[apiv1.Task](ctx, c, r)
	if err != nil || p.json() {
		return p.rawUnless(err, raw)
	}
	text := t.State
	switch {
	case t.RetryOf != 0:
		text = fmt.Sprintf("%s, made from %s", t.State, t.RetryOf)
	case t.CancelRequestedAt != 0 && t.State == apiv1.StateRunning:
		text = "running, told to stop"
	}
	return p.outcome(t.ID.String(), text)
}
