package cli

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// bulkEvery is how often the progress of a bulk operation is looked at.
const bulkEvery = 500 * time.Millisecond

func (p *program) bulk() *cobra.Command {
	cmd := group("bulk", "Cancel, retry or delete many tasks", `Does one thing to all tasks that a filter chooses, in the background of the server. It asks before it begins, unless --yes is given;
--dry-run only counts. Ctrl-C stops looking on, not the operation: "bulk stop" does that.

  taskweir bulk retry --state failed --queue mail --from 24h
  taskweir bulk cancel --label campaign=spring --dry-run
  taskweir bulk delete --state succeeded --to 7d --yes`)
	page := pageFlags{}
	list := &cobra.Command{Use: "list", Short: "List the newest bulk operations", Args: arguments(0, 0, "")}
	page.add(list.Flags(), 50)
	list.RunE = p.live(list, func(ctx context.Context, c *client, _ []string) error {
		return printList(ctx, p, c, "/v1/bulk", p.withApp(nil), &page, "ID ACTION STATE MATCHED CHANGED SKIPPED CREATED FILTER", p.bulkRow)
	})
	cmd.RunE = listWithoutArguments(list)
	p.apiFlags(cmd)
	p.appFlag(cmd)
	of := idUnder("/v1/bulk/")
	cmd.AddCommand(list,
		p.startBulk(apiv1.BulkCancel, "Cancel waiting and running tasks"),
		p.startBulk(apiv1.BulkRetry, "Run failed and cancelled tasks again"),
		p.startBulk(apiv1.BulkDelete, "Delete final tasks"),
		get1(p, "get ID...", "Show bulk operations and how far they are", of, p.showBulk),
		p.watchBulk(),
		p.each("stop ID...", "Stop bulk operations; what was done stays done", http.MethodPost, of, "/stop", ""))
	return cmd
}

// idUnder makes paths of things that have ids.
func idUnder(collection string) func(string) (string, error) {
	return func(id string) (string, error) {
		if _, err := apiv1.ParseID(id); err != nil {
			return "", usage(fmt.Errorf("%w: an id is a number like 1234", err))
		}
		return collection + id, nil
	}
}

func (p *program) bulkRow(b apiv1.Bulk) []string {
	action := b.Action
	if b.DryRun {
		action += " (dry run)"
	}
	return []string{b.ID.String(), action, b.State, fmt.Sprint(b.Matched), fmt.Sprint(b.Changed), fmt.Sprint(b.Skipped), p.when(b.CreatedAt), filterText(b.Filter)}
}

func filterText(f apiv1.BulkFilter) string {
	raw, err := json.Marshal(f)
	if err != nil {
		return ""
	}
	return shorten(string(raw), 120)
}

func (p *program) showBulk(b apiv1.Bulk) error {
	p.fields([][2]string{
		{"id", b.ID.String()}, {"state", b.State}, {"action", b.Action}, {"dry run", fmt.Sprint(b.DryRun)}, {"filter", filterText(b.Filter)}, {"app", b.App},
		{"matched", fmt.Sprint(b.Matched)}, {"changed", fmt.Sprint(b.Changed)}, {"skipped", fmt.Sprint(b.Skipped)}, {"error", b.Error},
		{"created", p.whenFull(b.CreatedAt)}, {"finished", p.whenFull(b.FinishedAt)}, {"took", span(b.CreatedAt, b.FinishedAt)},
	})
	return nil
}

// bulkFlags are how a bulk operation is begun.
type bulkFlags struct {
	filter              taskFilter
	ids                 []string
	dryRun, yes, noWait bool
}

func (p *program) startBulk(action, short string) *cobra.Command {
	var f bulkFlags
	cmd := &cobra.Command{Use: action, Short: short, Args: arguments(0, 0, "")}
	f.filter.add(p, cmd)
	fs := cmd.Flags()
	fs.StringSliceVar(&f.ids, "ids", nil, "these tasks, up to 1000 ids; alone")
	fs.BoolVar(&f.dryRun, "dry-run", false, "only count what it would be done to")
	fs.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	fs.BoolVar(&f.noWait, "no-wait", false, "do not look on: print the operation and end")
	cmd.RunE = p.connected(func(ctx context.Context, c *client, _ []string) error {
		filter, err := f.bulkFilter(ctx, c)
		if err != nil {
			return err
		}
		if !f.dryRun && !f.yes {
			if err := p.confirmBulk(ctx, c, action, filter); err != nil {
				return err
			}
		}
		b, raw, err := p.postBulk(ctx, c, apiv1.BulkCreate{Action: action, Filter: filter, DryRun: f.dryRun})
		if err != nil {
			return err
		}
		if f.noWait {
			if p.json() {
				return p.printRaw(raw)
			}
			return p.outcome(b.ID.String(), b.State)
		}
		return p.followBulk(ctx, c, b, raw)
	})
	return cmd
}

// bulkFilter is the filter that the flags say.
func (f *bulkFlags) bulkFilter(ctx context.Context, c *client) (apiv1.BulkFilter, error) {
	t := &f.filter
	out := apiv1.BulkFilter{State: t.state, Queue: t.queue, Kind: t.kind, UniqueKey: t.unique}
	key, value, err := t.labelParts()
	if err != nil {
		return out, err
	}
	if key != "" {
		out.Labels = map[string]string{key: value}
	}
	for _, text := range f.ids {
		id, err := apiv1.ParseID(strings.TrimSpace(text))
		if err != nil {
			return out, usage(fmt.Errorf("--ids: %w", err))
		}
		out.IDs = append(out.IDs, id)
	}
	from, to, err := t.times(ctx, c)
	if err != nil {
		return out, err
	}
	out.From, out.To = given(from), given(to)
	if out.State == "" && out.Queue == "" && out.Kind == "" && out.UniqueKey == "" && out.Labels == nil && out.IDs == nil && out.From == nil && out.To == nil {
		return out, usage(errors.New("say which tasks: --state, --queue, --kind, --label, --unique-key, --from, --to or --ids"))
	}
	return out, nil
}

func (p *program) postBulk(ctx context.Context, c *client, in apiv1.BulkCreate) (apiv1.Bulk, []byte, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return apiv1.Bulk{}, nil, fmt.Errorf("encode request: %w", err)
	}
	return fetch[apiv1.Bulk](ctx, c, request{method: http.MethodPost, path: "/v1/bulk", query: p.withApp(nil), body: body, idempotency: rand.Text()})
}

// confirmBulk counts what would be changed and asks. Where nobody can answer, --yes must be given.
func (p *program) confirmBulk(ctx context.Context, c *client, action string, filter apiv1.BulkFilter) error {
	_, asks := isTerminal(p.In)
	if !asks && !p.asks {
		return usage(fmt.Errorf("nobody can be asked: add --yes to %s these tasks, or --dry-run to count them", action))
	}
	b, _, err := p.postBulk(ctx, c, apiv1.BulkCreate{Action: action, Filter: filter, DryRun: true})
	if err != nil {
		return err
	}
	if b, _, err = p.bulkEnd(ctx, c, b, nil); err != nil {
		return err
	}
	if b.State != apiv1.BulkDone {
		return fmt.Errorf("counting them ended %s: %s", b.State, b.Error)
	}
	_, _ = fmt.Fprintf(p.Err, "%s: %d tasks match. Go on? [y/N] ", action, b.Matched)
	line, _ := bufio.NewReader(p.In).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return &exitError{code: ExitInterrupted, err: errors.New("nothing was changed")}
	}
	return nil
}

func (p *program) watchBulk() *cobra.Command {
	return &cobra.Command{
		Use: "watch ID", Short: "Look on until a bulk operation has ended", Args: arguments(1, 1, "an id"),
		Long: "Looks on until it has ended. The exit code is 8 when it gave up, 9 when it was stopped.",
		RunE: p.connected(func(ctx context.Context, c *client, args []string) error {
			path, err := idUnder("/v1/bulk/")(args[0])
			if err != nil {
				return err
			}
			b, raw, err := fetch[apiv1.Bulk](ctx, c, get(path, p.withApp(nil)))
			if err != nil {
				return err
			}
			return p.followBulk(ctx, c, b, raw)
		}),
	}
}

// followBulk shows progress on standard error until the end, and prints how it ended.
func (p *program) followBulk(ctx context.Context, c *client, b apiv1.Bulk, raw []byte) error {
	_, watched := isTerminal(p.Err)
	b, raw, err := p.bulkEnd(ctx, c, b, raw)
	if watched {
		_, _ = fmt.Fprint(p.Err, "\r\x1b[K")
	}
	switch {
	case errors.Is(err, errInterrupted):
		return &exitError{code: ExitInterrupted, err: fmt.Errorf("it goes on without you\n  look on with: taskweir bulk watch %s; stop it with: taskweir bulk stop %s", b.ID, b.ID)}
	case err != nil:
		return err
	case p.json():
		err = p.printRaw(raw)
	case b.DryRun:
		err = p.outcome(b.ID.String(), fmt.Sprintf("%s, dry run: %d tasks match, %d would be changed, %d skipped; nothing was changed", b.State, b.Matched, b.Changed, b.Skipped))
	default:
		err = p.outcome(b.ID.String(), fmt.Sprintf("%s: %d tasks matched, %d changed, %d skipped", b.State, b.Matched, b.Changed, b.Skipped))
	}
	switch {
	case err == nil && b.State == apiv1.BulkFailed:
		err = &exitError{code: ExitTaskFailed, err: fmt.Errorf("it gave up: %s", b.Error)}
	case err == nil && b.State == apiv1.BulkStopped:
		err = &exitError{code: ExitTaskStopped, err: errors.New("it was stopped"), silent: true}
	}
	return err
}

// bulkEnd asks until a bulk operation has ended. Progress goes to standard error, when that is a terminal.
func (p *program) bulkEnd(ctx context.Context, c *client, b apiv1.Bulk, raw []byte) (apiv1.Bulk, []byte, error) {
	_, watched := isTerminal(p.Err)
	for b.State == apiv1.BulkRunning || b.State == apiv1.BulkStopping {
		if watched {
			_, _ = fmt.Fprintf(p.Err, "\r%s %s: %d matched, %d changed, %d skipped\x1b[K", b.Action, clean(b.State), b.Matched, b.Changed, b.Skipped)
		}
		if err := c.pause(ctx, bulkEvery); err != nil {
			return b, raw, err
		}
		now, answer, err := fetch[apiv1.Bulk](ctx, c, get("/v1/bulk/"+b.ID.String(), p.withApp(nil)))
		if err != nil && (ctx.Err() != nil || exitCode(err) != ExitUnavailable) {
			return b, raw, err
		}
		if err == nil {
			b, raw = now, answer
		}
	}
	return b, raw, nil
}
