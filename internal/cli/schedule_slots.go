package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (s *scheduleCommands) slots() *cobra.Command {
	var outcome, from, to string
	var page pageFlags
	cmd := &cobra.Command{Use: "slots SCHEDULE", Short: "What became of its slots, newest first", Args: arguments(1, 1, "an id or a name")}
	f := cmd.Flags()
	f.StringVar(&outcome, "outcome", "", "fired, held, skipped, skipped_overlap, skipped_misfire or failed_template")
	f.StringVar(&from, "from", "", "slots at or after this time (RFC 3339)")
	f.StringVar(&to, "to", "", "slots before this time (RFC 3339)")
	page.add(f, 50)
	_ = cmd.RegisterFlagCompletionFunc("outcome", cobra.FixedCompletions([]string{"fired", "held", "skipped", "skipped_overlap", "skipped_misfire", "failed_template"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = s.live(cmd, func(ctx context.Context, c *client, args []string) error {
		path, err := s.path(ctx, c, args[0])
		if err != nil {
			return err
		}
		return printList(ctx, s.program, c, path+"/slots", s.query("outcome", outcome, "from", from, "to", to), &page, "SLOT OUTCOME ORIGIN TASK DECIDED DETAIL", s.slotRow)
	})
	return cmd
}

func (s *scheduleCommands) trigger() *cobra.Command {
	return s.onSlot("trigger SCHEDULE...", "Make a run now, beside the planned ones; also while it is paused", "/trigger", true)
}

func (s *scheduleCommands) skipNext() *cobra.Command {
	return s.onSlot("skip-next SCHEDULE...", "Take the next planned slot out", "/skip-next", false)
}

// onSlot makes a command whose answer is one slot. A keyed one is repeated safely under an idempotency key.
func (s *scheduleCommands) onSlot(use, short, verb string, keyed bool) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: arguments(1, -1, "at least one id or name"),
		RunE: s.connected(func(ctx context.Context, c *client, args []string) error {
			return forEach(args, func(name string) error {
				path, err := s.path(ctx, c, name)
				if err != nil {
					return err
				}
				r := post(path+verb, s.query(), nil)
				if keyed {
					r.idempotency = rand.Text()
				}
				slot, raw, err := fetch[apiv1.Slot](ctx, c, r)
				if err != nil || s.json() {
					return s.rawUnless(err, raw)
				}
				text := slot.Outcome
				if slot.TaskID != 0 {
					text += ", task " + slot.TaskID.String()
				}
				if s.quiet {
					return s.say(slot.TaskID.String())
				}
				return s.say(fmt.Sprintf("%s: slot %s %s", name, s.instant(slot.Slot), text))
			})
		}),
	}
}

func (s *scheduleCommands) backfill() *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use: "backfill SCHEDULE --from TIME --to TIME", Short: "Make a run for every planned slot of a past range, at most 1,000", Args: arguments(1, 1, "an id or a name"),
	}
	cmd.Flags().StringVar(&from, "from", "", "slots at or after this time (RFC 3339)")
	cmd.Flags().StringVar(&to, "to", "", "slots before this time (RFC 3339), at most now")
	cmd.RunE = s.connected(func(ctx context.Context, c *client, args []string) error {
		var r apiv1.BackfillRange
		for _, x := range []struct {
			flag, text string
			to         *apiv1.Time
		}{{"from", from, &r.From}, {"to", to, &r.To}} {
			at, err := apiv1.ParseTime(x.text)
			if err != nil {
				return usage(fmt.Errorf("--%s: %w", x.flag, err))
			}
			*x.to = at
		}
		body, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		path, err := s.path(ctx, c, args[0])
		if err != nil {
			return err
		}
		made, raw, err := fetch[apiv1.Backfill](ctx, c, request{method: http.MethodPost, path: path + "/backfill", query: s.query(), body: body, idempotency: rand.Text()})
		if err != nil || s.json() {
			return s.rawUnless(err, raw)
		}
		return s.printBackfill(made)
	})
	return cmd
}

func (s *scheduleCommands) printBackfill(made apiv1.Backfill) error {
	if made.ID == 0 {
		_, err := fmt.Fprintln(s.Out, "no slot lies in that range")
		return err
	}
	count := map[string]int{}
	for _, slot := range made.Items {
		count[slot.Outcome]++
	}
	text := fmt.Sprintf("backfill %s: %d slots", made.ID, len(made.Items))
	for _, outcome := range []string{apiv1.SlotFired, apiv1.SlotHeld, apiv1.SlotSkippedOverlap, apiv1.SlotFailedTemplate} {
		if n := count[outcome]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, outcome)
		}
	}
	_, err := fmt.Fprintln(s.Out, text)
	return err
}

// preview shows when an expression, an interval or a stored schedule fires.
func (s *scheduleCommands) preview() *cobra.Command {
	var f scheduleFlags
	var from, stored string
	var count int
	cmd := &cobra.Command{
		Use: "preview [EXPRESSION]", Short: "When an expression fires, in words and in times", Args: arguments(0, 1, ""),
		Example: `  taskweir schedules preview '30 2 * * *' --zone Europe/Berlin --from 2027-03-26T00:00:00Z
  taskweir schedules preview '0 0 9 ? * MON-FRI' --zone America/New_York --count 20
  taskweir schedules preview --every 90s
  taskweir schedules preview --schedule nightly`,
	}
	fs := cmd.Flags()
	f.addTimes(fs)
	fs.StringVar(&from, "from", "", "fires after this time (RFC 3339; default now)")
	fs.IntVar(&count, "count", 5, "how many, 1 to 1000")
	fs.StringVar(&stored, "schedule", "", "of this schedule, by id or name")
	_ = cmd.RegisterFlagCompletionFunc("schedule", s.complete(completeSchedules))
	cmd.RunE = s.connected(func(ctx context.Context, c *client, args []string) error {
		if stored != "" {
			if len(args) > 0 || f.any(cmd.Flags().Changed) {
				return usage(errors.New("--schedule says everything: leave out the expression and the other flags"))
			}
			path, err := s.path(ctx, c, stored)
			if err != nil {
				return err
			}
			return s.previewed(fetch[apiv1.Preview](ctx, c, get(path+"/preview", s.query("from", from, "count", strconv.Itoa(count)))))
		}
		body, err := f.previewBody(args, from, count, cmd.Flags().Changed)
		if err != nil {
			return err
		}
		return s.previewed(fetch[apiv1.Preview](ctx, c, request{method: http.MethodPost, path: "/v1/schedules/preview", body: body}))
	})
	return cmd
}

func (f *scheduleFlags) previewBody(args []string, from string, count int, changed func(string) bool) ([]byte, error) {
	var in apiv1.ScheduleInput
	if len(args) == 1 {
		if f.cron = args[0]; changed("cron") {
			return nil, usage(errors.New("the expression is given twice"))
		}
		in.Spec.Cron = f.cron
	}
	if err := f.times(&in, changed); err != nil {
		return nil, err
	}
	p := apiv1.SchedulePreview{Spec: in.Spec, Zone: in.Zone, Count: count, DSTGap: in.DSTGap, DSTOverlap: in.DSTOverlap, JitterMs: in.JitterMs, StartAt: in.StartAt, EndAt: in.EndAt}
	if from != "" {
		at, err := apiv1.ParseTime(from)
		if err != nil {
			return nil, usage(fmt.Errorf("--from: %w", err))
		}
		p.From = &at
	}
	return json.Marshal(p)
}

func (s *scheduleCommands) previewed(pv apiv1.Preview, raw []byte, err error) error {
	if err != nil || s.json() {
		return s.rawUnless(err, raw)
	}
	if _, err := fmt.Fprintln(s.Out, printable(pv.Description)); err != nil {
		return err
	}
	if len(pv.Fires) == 0 {
		_, err := fmt.Fprintln(s.Out, "nothing is left")
		return err
	}
	var rows [][]string
	for _, x := range pv.Fires {
		rows = append(rows, []string{x.Local, x.At.String(), x.Note})
	}
	return s.table("LOCAL UTC NOTE", rows)
}
