package cli

import (
	"context"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (p *program) queues() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List every queue with its depth", Args: arguments(0, 0, ""), RunE: p.connected(p.listQueues)}
	cmd := group("queues", "List, pause and resume queues", "")
	cmd.RunE = listWithoutArguments(list)
	config.AddFlags(cmd.PersistentFlags(), config.CLI)
	cmd.AddCommand(list,
		p.each("pause QUEUE...", "Start nothing more from these queues; what runs goes on", "/v1/queues/", "/pause", "paused"),
		p.each("resume QUEUE...", "Start tasks from these queues again", "/v1/queues/", "/resume", "resumed"))
	return cmd
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

func (p *program) listQueues(ctx context.Context, c *client, _ []string) error {
	answer, raw, err := fetch[apiv1.List[apiv1.Queue]](ctx, c, get("/v1/queues", url.Values{"limit": {"1000"}}))
	if err != nil || p.json() {
		return p.rawUnless(err, raw)
	}
	var rows [][]string
	for _, q := range answer.Items {
		state, age := "open", ""
		if q.Paused {
			state = "paused"
		}
		if q.OldestDueAt != 0 {
			age = milliseconds(q.OldestDueAgeMs)
		}
		rows = append(rows, []string{q.Name, state, count(q.Depth), count(q.Scheduled), count(q.Running), age})
	}
	return p.table("QUEUE STATE DUE SCHEDULED RUNNING OLDEST-DUE", rows)
}

// rawUnless prints the API's JSON unless there is an error.
func (p *program) rawUnless(err error, raw []byte) error {
	if err != nil {
		return err
	}
	return p.printRaw(raw)
}

// each makes a command that POSTs to each of its arguments.
func (p *program) each(use, short, before, after, done string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: arguments(1, -1, "at least one name or id"),
		RunE: p.connected(func(ctx context.Context, c *client, args []string) error {
			return forEach(args, func(name string) error {
				raw, err := c.call(ctx, post(before+url.PathEscape(name)+after, nil, nil))
				switch {
				case err != nil:
					return err
				case p.json() && len(raw) > 0:
					return p.printRaw(raw)
				case p.json():
					return p.printJSON(map[string]string{"name": name, "state": done})
				}
				_, err = fmt.Fprintf(p.Out, "%s %s\n", name, done)
				return err
			})
		}),
	}
}
