package cli

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (p *program) workers() *cobra.Command {
	var all bool
	list := &cobra.Command{Use: "list", Short: "List the workers", Args: arguments(0, 0, "")}
	list.RunE = p.connected(func(ctx context.Context, c *client, _ []string) error { return p.listWorkers(ctx, c, all) })
	cmd := group("workers", "List and drain workers", "")
	cmd.RunE = listWithoutArguments(list)
	for _, c := range []*cobra.Command{cmd, list} {
		c.Flags().BoolVar(&all, "all", false, "also those that are gone since an hour")
	}
	config.AddFlags(cmd.PersistentFlags(), config.CLI)
	cmd.AddCommand(list,
		&cobra.Command{Use: "get ID", Short: "Show one worker and what it is running", Args: arguments(1, 1, "a worker's id"), RunE: p.connected(p.getWorker)},
		p.each("drain ID...", "Let workers finish what they run, and end", "/v1/workers/", "/drain", "draining"))
	return cmd
}

func (p *program) listWorkers(ctx context.Context, c *client, all bool) error {
	query := url.Values{"limit": {"1000"}}
	if all {
		query.Set("all", "true")
	}
	answer, raw, err := fetch[apiv1.List[apiv1.Worker]](ctx, c, get("/v1/workers", query))
	if err != nil || p.json() {
		return p.rawUnless(err, raw)
	}
	var rows [][]string
	for _, w := range answer.Items {
		rows = append(rows, []string{
			w.ID.String(), w.State, w.Host, fmt.Sprint(w.PID), w.Version, fmt.Sprintf("%d/%d", w.Busy, w.Slots), fmt.Sprint(w.Zombies), queuesOf(w), local(w.StartedAt), local(w.BeatAt),
		})
	}
	return p.table("ID STATE HOST PID VERSION BUSY ZOMBIES QUEUES STARTED BEAT", rows)
}

func queuesOf(w apiv1.Worker) string {
	if len(w.Queues) == 0 {
		return "all"
	}
	return strings.Join(w.Queues, ",")
}

func (p *program) getWorker(ctx context.Context, c *client, args []string) error {
	w, raw, err := fetch[apiv1.Worker](ctx, c, get("/v1/workers/"+url.PathEscape(args[0]), nil))
	if err != nil || p.json() {
		return p.rawUnless(err, raw)
	}
	p.fields([][2]string{
		{"id", w.ID.String()}, {"state", w.State}, {"host", fmt.Sprintf("%s, process %d, %s", w.Host, w.PID, w.Version)},
		{"started", local(w.StartedAt)}, {"last beat", local(w.BeatAt)}, {"busy", fmt.Sprintf("%d of %d slots, %d zombies", w.Busy, w.Slots, w.Zombies)},
		{"queues", queuesOf(w)}, {"kinds", strings.Join(w.Kinds, ", ")},
	})
	if len(w.Running) == 0 {
		return nil
	}
	var rows [][]string
	for _, r := range w.Running {
		note := ""
		if r.Zombie {
			note = "zombie"
		}
		rows = append(rows, []string{r.Task.String(), r.Kind, r.Queue, fmt.Sprint(r.Epoch), local(r.StartedAt), note})
	}
	_, _ = fmt.Fprintln(p.Out)
	return p.table("TASK KIND QUEUE EPOCH STARTED NOTE", rows)
}
