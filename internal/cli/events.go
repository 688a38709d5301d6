package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// tail follows a stream of events with pkg/client, over lost connections.
type tail struct {
	*program
	client *client
	path   string
	query  url.Values
	after  string
	count  int // end after this many; 0: never
	shown  int
	final  string // state in which the one task ended; "" for the whole stream
	single bool   // of one task: the stream ends with it
}

func (p *program) events() *cobra.Command {
	var queue, kind string
	var types []string
	t := &tail{program: p, path: "/v1/events"}
	cmd := &cobra.Command{
		Use: "events", Short: "Follow what happens to tasks, live", Args: cobra.ArbitraryArgs,
		Long: `Prints every change of every task of the app as it happens, until Ctrl-C. A lost connection is taken up where it was; "reset" says that
events may be missing before it.

  taskweir events --queue mail --type failed,retrying
  taskweir events -o json | jq 'select(.error.code == "http_status")'`,
	}
	p.apiFlags(cmd)
	p.appFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&queue, "queue", "", "only of this queue")
	f.StringVar(&kind, "kind", "", "only of this kind")
	f.StringSliceVar(&types, "type", nil, "only of these types: submitted, started, retrying, succeeded, failed, cancelled")
	f.StringVar(&t.after, "after", "", "begin after the event with this id (at most 10 minutes ago)")
	f.IntVar(&t.count, "count", 0, "end after this many")
	_ = cmd.RegisterFlagCompletionFunc("queue", p.complete(completeQueues))
	_ = cmd.RegisterFlagCompletionFunc("kind", p.complete(completeKinds))
	_ = cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions([]string{"submitted", "started", "retrying", "succeeded", "failed", "cancelled"}, cobra.ShellCompDirectiveNoFileComp))
	run := p.connected(func(ctx context.Context, c *client, _ []string) error {
		t.client, t.query = c, p.parameters("queue", queue, "kind", kind, "type", strings.Join(types, ","))
		return ignoreInterrupt(t.run(ctx))
	})
	cmd.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknown(c, args[0])
		}
		return run(c, args)
	}
	cmd.AddCommand(p.eventTicket())
	return cmd
}

func (p *program) taskEvents() *cobra.Command {
	t := &tail{program: p, single: true}
	cmd := &cobra.Command{
		Use: "events ID", Short: "Print what happens to a task from its beginning on, until it is final", Args: arguments(1, 1, "an id"),
		Long: "Prints every event of a task, those that happened before too, and ends when it is final: exit code 8 when it failed, 9 when it was cancelled.",
	}
	cmd.Flags().StringVar(&t.after, "after", "", "begin after the event with this id")
	cmd.RunE = p.connected(func(ctx context.Context, c *client, args []string) error {
		path, err := taskPath(args[0])
		if err != nil {
			return err
		}
		t.client, t.path, t.query = c, path+"/events", p.withApp(nil)
		if err := t.run(ctx); err != nil {
			return err
		}
		return verdict(t.final)
	})
	return cmd
}

func (p *program) eventTicket() *cobra.Command {
	var task string
	cmd := &cobra.Command{
		Use: "ticket", Short: "Make a ticket with which a browser opens one stream", Args: arguments(0, 0, ""),
		Long: "Makes a ticket, which is good for one stream within 60 s: a browser cannot send a key, it opens /v1/events?ticket=TICKET, or with\n--task the events or the log of that task.",
	}
	cmd.Flags().StringVar(&task, "task", "", "for the events or the log of this task (its id)")
	cmd.RunE = p.connected(func(ctx context.Context, c *client, _ []string) error {
		var body []byte
		if task != "" {
			if _, err := taskPath(task); err != nil {
				return err
			}
			body = []byte(`{"task":"` + task + `"}`)
		}
		t, raw, err := fetch[apiv1.Ticket](ctx, c, post("/v1/events/tickets", p.withApp(nil), body))
		if err != nil || p.json() {
			return p.rawUnless(err, raw)
		}
		return p.outcome(t.Ticket, "until "+p.instant(t.ExpiresAt))
	})
	return cmd
}

// ignoreInterrupt makes Ctrl-C the proper end of what only looks on.
func ignoreInterrupt(err error) error {
	if errors.Is(err, errInterrupted) {
		return nil
	}
	return err
}

// run follows until the task is final, enough was shown or the context ends.
func (t *tail) run(ctx context.Context) error {
	if err := cmp.Or(t.client.credential(request{}), t.client.unusable()); err != nil {
		return err
	}
	api, opened, err := t.client.lasting(t.note)
	if err != nil {
		return err
	}
	for raw, err := range api.OpenEvents(ctx, t.path, t.query, t.after, opened) {
		if err != nil {
			return t.client.explained(ctx, err)
		}
		if enough, err := t.tell(raw.Data); enough || err != nil {
			return err
		}
	}
	if !t.single {
		return nil
	}
	now, _, err := fetch[apiv1.Task](ctx, t.client, get(strings.TrimSuffix(t.path, "/events"), t.query)) // it ended before the stream began
	t.final = now.State
	return err
}

// tell prints one event, and reports whether it is the last to be shown.
func (t *tail) tell(data []byte) (enough bool, err error) {
	var e apiv1.Event
	if err := json.Unmarshal(data, &e); err != nil {
		return false, fmt.Errorf("read an event of %s: %w", t.path, err)
	}
	if err := t.print(&e, data); err != nil {
		return false, err
	}
	if e.Type != apiv1.EventReset {
		t.shown++
	}
	if t.single && apiv1.Final(e.State) {
		t.final = e.State
		return true, nil
	}
	return t.count > 0 && t.shown == t.count, nil
}

func (t *tail) print(e *apiv1.Event, data []byte) error {
	switch {
	case t.json():
		return t.printRaw(data)
	case t.quiet:
		return t.say(e.Task.String())
	case e.Type == apiv1.EventReset:
		t.note("reset: events may be missing here")
		return nil
	}
	kind := fmt.Sprintf("%-9s", clean(e.Type))
	if t.terminal().colour {
		kind = styled(kind, stateStyle(e.Type))
	}
	_, err := fmt.Fprintf(t.Out, "%s  %s  %s %s\n", timeOfDay(e.At), e.Task, kind, clean(eventText(e)))
	return err
}

// eventText is what an event says besides its type.
func eventText(e *apiv1.Event) string {
	text := e.Kind
	if e.Queue != "" {
		text += " in " + e.Queue
	}
	if e.Epoch > 0 {
		text += fmt.Sprintf(", attempt %d", e.Epoch)
	}
	if e.Worker != 0 {
		text += " on worker " + e.Worker.String()
	}
	if e.Outcome != "" && e.Outcome != e.Type {
		text += ", " + e.Outcome
	}
	if e.Reason != "" {
		text += ", " + e.Reason
	}
	if e.DueAt != 0 {
		text += ", due " + timeOfDay(e.DueAt)
	}
	if cause := errorText(e.Error); cause != "" {
		text += ": " + shorten(cause, 160)
	}
	if len(e.Progress) > 0 && string(e.Progress) != "null" {
		text += " " + shorten(string(e.Progress), 160)
	}
	return text
}
