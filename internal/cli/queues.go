package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (p *program) queues() *cobra.Command {
	page := pageFlags{limit: 1000}
	list := &cobra.Command{Use: "list", Short: "List every queue with its depth and limits", Args: arguments(0, 0, "")}
	list.RunE = p.live(list, func(ctx context.Context, c *client, _ []string) error {
		return printList(ctx, p, c, "/v1/queues", p.withApp(nil), &page, queueHeader, p.queueRow)
	})
	page.add(list.Flags(), 1000)
	cmd := group("queues", "List, limit, pause and resume queues", "")
	cmd.RunE = listWithoutArguments(list)
	p.apiFlags(cmd)
	p.appFlag(cmd)
	of := under("/v1/queues/")
	set := &cobra.Command{
		Use: "set QUEUE", Short: "Limit a queue; what the flags do not name stays. Makes it when it is not there", Args: arguments(1, 1, "a queue"),
		Example: "  taskweir queues set mail --rate 50/s --concurrency 10\n  taskweir queues set mail --rate none",
	}
	cmd.AddCommand(list,
		p.completing(completeQueues, get1(p, "get QUEUE...", "Show queues", of, p.showQueue)),
		p.completing(completeQueues, p.limiting(set, of, func(raw []byte) (string, error) {
			var q apiv1.Queue
			err := json.Unmarshal(raw, &q)
			return openOrPaused(q.Paused) + ", " + limitsText(q.Limits), err
		})),
		p.completing(completeQueues, p.each("pause QUEUE...", "Start nothing more from these queues; what runs goes on", http.MethodPost, of, "/pause", "paused")),
		p.completing(completeQueues, p.each("resume QUEUE...", "Start tasks from these queues again", http.MethodPost, of, "/resume", "resumed")))
	return cmd
}

const queueHeader = "QUEUE STATE DUE SCHEDULED RUNNING OLDEST-DUE RATE CONCURRENCY"

func (p *program) queueRow(q apiv1.Queue) []string {
	oldest := ""
	if q.OldestDueAt != 0 {
		oldest = milliseconds(q.OldestDueAgeMs)
	}
	return []string{q.Name, openOrPaused(q.Paused), count(q.Depth), count(q.Scheduled), count(q.Running), oldest, rateText(q.Limits.Rate), concurrencyText(q.Limits.Concurrency)}
}

func (p *program) showQueue(q apiv1.Queue) error {
	oldest := ""
	if q.OldestDueAt != 0 {
		oldest = milliseconds(q.OldestDueAgeMs) + " ago, " + p.instant(q.OldestDueAt)
	}
	p.fields([][2]string{
		{"queue", q.Name}, {"state", openOrPaused(q.Paused)}, {"due", count(q.Depth)}, {"oldest due", oldest}, {"scheduled", count(q.Scheduled)},
		{"running", count(q.Running)}, {"rate", rateText(q.Limits.Rate)}, {"concurrency", concurrencyText(q.Limits.Concurrency)},
	})
	return nil
}

// listWithoutArguments makes a group list when nothing is asked of it.
func listWithoutArguments(list *cobra.Command) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknown(c, args[0])
		}
		return list.RunE(c, nil)
	}
}

// each makes a command that sends the same to each of its arguments.
func (p *program) each(use, short, method string, path func(string) (string, error), after, done string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: arguments(1, -1, "at least one name or id"),
		RunE: p.connected(func(ctx context.Context, c *client, args []string) error {
			return forEach(args, func(name string) error {
				address, err := path(name)
				if err != nil {
					return err
				}
				raw, err := c.call(ctx, request{method: method, path: address + after, query: p.withApp(nil)})
				switch {
				case err != nil:
					return err
				case p.json() && len(raw) > 0:
					return p.printRaw(raw)
				case p.json():
					return p.printJSON(map[string]string{"name": name, "state": done})
				}
				return p.outcome(name, cmp.Or(done, stateIn(raw)))
			})
		}),
	}
}

// stateIn is the state of the thing that was answered: asked to end, it may have ended before.
func stateIn(raw []byte) string {
	var thing struct{ State string }
	if err := json.Unmarshal(raw, &thing); err != nil {
		return "" // the request was carried out
	}
	return thing.State
}

// kinds are the commands for kinds.
func (p *program) kinds() *cobra.Command {
	var page pageFlags
	list := &cobra.Command{Use: "list", Short: "List the kinds that tasks may have", Args: arguments(0, 0, "")}
	list.RunE = p.connected(func(ctx context.Context, c *client, _ []string) error {
		return printList(ctx, p, c, "/v1/kinds", nil, &page, "KIND FROM", kindRow)
	})
	page.add(list.Flags(), 1000)
	cmd := group("kinds", "List and declare kinds of tasks", "A kind names the code that runs a task. Workers declare the kinds that they run; \"declare\" does it before there is one.")
	cmd.RunE = listWithoutArguments(list)
	p.apiFlags(cmd)
	cmd.AddCommand(list, p.completing(completeKinds, get1(p, "get KIND...", "Show kinds", under("/v1/kinds/"), func(k apiv1.Kind) error {
		return p.table("KIND FROM", [][]string{kindRow(k)})
	})), p.each("declare KIND...", "Let tasks of these kinds be submitted before a worker runs them", http.MethodPut, under("/v1/kinds/"), "", "declared"))
	return cmd
}

func kindRow(k apiv1.Kind) []string {
	if k.BuiltIn {
		return []string{k.Name, "built in"}
	}
	return []string{k.Name, "declared"}
}
