package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (p *program) workers() *cobra.Command {
	page := pageFlags{}
	var all bool
	list := &cobra.Command{Use: "list", Short: "List the workers", Args: arguments(0, 0, "")}
	list.RunE = p.live(list, func(ctx context.Context, c *client, _ []string) error {
		q := url.Values{}
		if all {
			q.Set("all", "true")
		}
		return printList(ctx, p, c, "/v1/workers", q, &page, "ID STATE HOST PID VERSION BUSY ZOMBIES QUEUES STARTED BEAT", p.workerRow)
	})
	page.add(list.Flags(), 1000)
	cmd := group("workers", "List and drain workers", "")
	cmd.RunE = listWithoutArguments(list)
	for _, c := range []*cobra.Command{cmd, list} {
		c.Flags().BoolVar(&all, "all", false, "also those that are gone since an hour")
	}
	p.apiFlags(cmd)
	of := under("/v1/workers/")
	cmd.AddCommand(list,
		p.completing(completeWorkers, get1(p, "get ID...", "Show workers and what they are running", of, p.showWorker)),
		p.completing(completeWorkers, p.each("drain ID...", "Let workers finish what they run, and end", http.MethodPost, of, "/drain", "draining")))
	return cmd
}

func (p *program) workerRow(w apiv1.Worker) []string {
	return []string{
		w.ID.String(), w.State, w.Host, fmt.Sprint(w.PID), w.Version, fmt.Sprintf("%d/%d", w.Busy, w.Slots), fmt.Sprint(w.Zombies), queuesOf(w), p.when(w.StartedAt), p.when(w.BeatAt),
	}
}

func queuesOf(w apiv1.Worker) string {
	if len(w.Queues) == 0 {
		return "all"
	}
	return strings.Join(w.Queues, ",")
}

func (p *program) showWorker(w apiv1.Worker) error {
	p.fields([][2]string{
		{"id", w.ID.String()}, {"state", w.State}, {"host", fmt.Sprintf("%s, process %d, %s", w.Host, w.PID, w.Version)},
		{"started", p.whenFull(w.StartedAt)}, {"last beat", p.whenFull(w.BeatAt)}, {"busy", fmt.Sprintf("%d of %d slots, %d zombies", w.Busy, w.Slots, w.Zombies)},
		{"queues", queuesOf(w)}, {"kinds", strings.Join(w.Kinds, ", ")},
	})
	var rows [][]string
	for _, r := range w.Running {
		note := ""
		if r.Zombie {
			note = "zombie"
		}
		rows = append(rows, []string{r.Task.String(), r.Kind, r.Queue, fmt.Sprint(r.Epoch), p.when(r.StartedAt), note})
	}
	return p.section("TASK KIND QUEUE EPOCH STARTED NOTE", rows)
}
