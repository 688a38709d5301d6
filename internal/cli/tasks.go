package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (p *program) tasks() *cobra.Command {
	cmd := group("tasks", "Submit, look at and control tasks", "")
	config.AddFlags(cmd.PersistentFlags(), config.CLI)
	cmd.AddCommand(p.submit(), p.getTasks(), p.listTasks(), p.watch(), p.cancel(), p.retry(), p.taskLog(), p.taskDelivery(),
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
			if code := exitCode(err); code == ExitUnavailable || errors.Is(err, errInterrupted) {
				break // the others would fail alike
			}
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return &exitError{code: exitCode(errs[0]), err: errors.Join(errs...)}
}

func taskPath(id string) (string, error) {
	if _, err := apiv1.ParseID(id); err != nil {
		return "", usage(fmt.Errorf("%w: an id is a number like 1234", err))
	}
	return "/v1/tasks/" + id, nil
}

func (p *program) getTasks() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{Use: "get ID...", Short: "Show tasks with their attempts", Args: arguments(1, -1, "at least one id")}
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait up to this long (30s at most) until the task is final")
	cmd.RunE = p.connected(func(ctx context.Context, c *client, args []string) error {
		return forEach(args, func(id string) error {
			path, err := taskPath(id)
			if err != nil {
				return err
			}
			t, raw, err := fetch[apiv1.Task](ctx, c, get(path, waitQuery(wait)))
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

func (p *program) listTasks() *cobra.Command {
	var state, queue, kind, label, unique, app, from, to, cursor string
	var limit int
	cmd := &cobra.Command{Use: "list", Short: "List tasks, newest first (scheduled and queued ones in due order)", Args: arguments(0, 0, "")}
	f := cmd.Flags()
	f.StringVar(&state, "state", "", "scheduled, queued, running, succeeded, failed, cancelled")
	f.StringVar(&queue, "queue", "", "of this queue")
	f.StringVar(&kind, "kind", "", "of this kind")
	f.StringVar(&label, "label", "", "with this label, key=value")
	f.StringVar(&unique, "unique-key", "", "with this unique key")
	f.StringVar(&from, "from", "", "created at or after this time (RFC 3339)")
	f.StringVar(&to, "to", "", "created before this time (RFC 3339)")
	f.StringVar(&app, "app", "", "of this app (admin keys only)")
	f.IntVar(&limit, "limit", 50, "at most this many, 1 to 1000")
	f.StringVar(&cursor, "cursor", "", "go on where a list ended")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{"scheduled", "queued", "running", "succeeded", "failed", "cancelled"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = p.connected(func(ctx context.Context, c *client, _ []string) error {
		query := url.Values{"limit": {strconv.Itoa(limit)}}
		for name, value := range map[string]string{"state": state, "queue": queue, "kind": kind, "uniqueKey": unique, "from": from, "to": to, "app": app, "cursor": cursor} {
			if value != "" {
				query.Set(name, value)
			}
		}
		if i := strings.IndexAny(label, "=:"); i >= 0 {
			query.Set("label", label[:i]+":"+label[i+1:])
		} else if label != "" {
			return usage(fmt.Errorf("--label: %q is not key=value", label))
		}
		list, raw, err := fetch[apiv1.TaskList](ctx, c, get("/v1/tasks", query))
		if err != nil || p.json() {
			return p.rawUnless(err, raw)
		}
		if err := p.printTasks(list.Items); err != nil {
			return err
		}
		if list.NextCursor != "" {
			_, err = fmt.Fprintf(p.Err, "\nmore: add --cursor %s\n", list.NextCursor)
		}
		return err
	})
	return cmd
}

func (p *program) cancel() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{Use: "cancel ID...", Short: "Cancel tasks; running ones are stopped", Args: arguments(1, -1, "at least one id")}
	cmd.Flags().DurationVar(&wait, "wait", 5*time.Second, "wait up to this long (30s at most) until a running task has stopped")
	cmd.RunE = p.connected(func(ctx context.Context, c *client, args []string) error {
		return forEach(args, func(id string) error { return p.act(ctx, c, id, "/cancel", waitQuery(wait), nil) })
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
		return forEach(args, func(id string) error { return p.act(ctx, c, id, "/retry", nil, raw) })
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
			return forEach(args, func(id string) error { return p.act(ctx, c, id, verb, nil, nil) })
		}),
	}
}

// act POSTs to a task and prints how it stands then.
func (p *program) act(ctx context.Context, c *client, id, verb string, query url.Values, body []byte) error {
	path, err := taskPath(id)
	if err != nil {
		return err
	}
	t, raw, err := fetch[apiv1.Task](ctx, c, post(path+verb, query, body))
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
	_, err = fmt.Fprintf(p.Out, "%s %s\n", t.ID, text)
	return err
}

func (p *program) taskLog() *cobra.Command {
	return &cobra.Command{
		Use: "log ID", Short: "Print the last 64 KiB of a task's output", Args: arguments(1, 1, "an id"),
		RunE: p.connected(func(ctx context.Context, c *client, args []string) error {
			path, err := taskPath(args[0])
			if err != nil {
				return err
			}
			raw, err := c.call(ctx, request{method: http.MethodGet, path: path + "/log"})
			if err != nil {
				return err
			}
			if p.json() {
				return p.printJSON(map[string]string{"id": args[0], "log": string(raw)})
			}
			_, err = p.Out.Write(raw)
			return err
		}),
	}
}
