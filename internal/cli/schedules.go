package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// schedules are the commands for schedules. They take ids or names.
func (p *program) schedules() *cobra.Command {
	s := &scheduleCommands{p}
	list := s.list()
	cmd := group("schedules", "Make, look at and control schedules", `A schedule makes tasks at the times that an expression, an interval or one instant names. Commands take its id or its name.

  taskweir schedules preview '30 2 * * *' --zone Europe/Berlin
  taskweir schedules create nightly --cron '30 2 * * *' --zone Europe/Berlin --kind http --payload '{"url": "https://example.org/report"}'
  taskweir schedules slots nightly`)
	cmd.RunE = listWithoutArguments(list)
	p.apiFlags(cmd)
	p.appFlag(cmd)
	cmd.AddCommand(list, s.create(), s.preview())
	for _, c := range []*cobra.Command{
		s.get(), s.edit(), s.slots(), s.trigger(), s.skipNext(), s.backfill(),
		s.each("pause SCHEDULE...", "Plan no more slots; what has begun goes on", http.MethodPost, "/pause", "paused"),
		s.each("resume SCHEDULE...", "Plan slots again, from the next one on", http.MethodPost, "/resume", "resumed"),
		s.each("delete SCHEDULE...", "Delete schedules; what has begun goes on", http.MethodDelete, "", "deleted"),
	} {
		cmd.AddCommand(s.completing(completeSchedules, c))
	}
	return cmd
}

// scheduleCommands holds what all of them share.
type scheduleCommands struct{ *program }

// query gives query parameters; empty values are left out, --app is added.
func (s *scheduleCommands) query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return s.withApp(q)
}

// path finds a schedule by id or name.
func (s *scheduleCommands) path(ctx context.Context, c *client, name string) (string, error) {
	if _, err := apiv1.ParseID(name); err == nil {
		return "/v1/schedules/" + name, nil
	}
	found, _, err := fetch[apiv1.List[apiv1.Schedule]](ctx, c, get("/v1/schedules", s.query("name", name, "limit", "2")))
	switch {
	case err != nil:
		return "", err
	case len(found.Items) == 0:
		return "", &exitError{code: ExitNotFound, err: fmt.Errorf("there is no schedule named %q", name)}
	case len(found.Items) > 1:
		return "", usage(fmt.Errorf("several apps have a schedule named %q: say which by --app or use its id", name))
	}
	return "/v1/schedules/" + found.Items[0].ID.String(), nil
}

func (s *scheduleCommands) list() *cobra.Command {
	var paused, name string
	var page pageFlags
	cmd := &cobra.Command{Use: "list", Short: "List schedules, newest first", Args: arguments(0, 0, "")}
	cmd.Flags().StringVar(&paused, "paused", "", "only those that are paused (true) or not (false)")
	cmd.Flags().StringVar(&name, "name", "", "only the one of this name, of each app")
	page.add(cmd.Flags(), 50)
	_ = cmd.RegisterFlagCompletionFunc("paused", cobra.FixedCompletions([]string{"true", "false"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = s.live(cmd, func(ctx context.Context, c *client, _ []string) error {
		return printList(ctx, s.program, c, "/v1/schedules", s.query("paused", paused, "name", name), &page, "ID NAME STATE NEXT KIND OVERLAP WHEN", s.scheduleRow)
	})
	return cmd
}

func (s *scheduleCommands) get() *cobra.Command {
	return &cobra.Command{
		Use: "get SCHEDULE...", Short: "Show schedules whole", Args: arguments(1, -1, "at least one id or name"),
		RunE: s.connected(func(ctx context.Context, c *client, args []string) error {
			return forEach(args, func(name string) error {
				path, err := s.path(ctx, c, name)
				if err != nil {
					return err
				}
				sch, raw, err := fetch[apiv1.Schedule](ctx, c, get(path, s.query()))
				if err != nil || s.json() {
					return s.rawUnless(err, raw)
				}
				s.printSchedule(sch)
				return nil
			})
		}),
	}
}

func (s *scheduleCommands) create() *cobra.Command {
	var f scheduleFlags
	var idempotency string
	cmd := &cobra.Command{
		Use: "create [NAME]", Short: "Make a schedule", Args: arguments(0, 1, ""),
		Example: `  taskweir schedules create nightly --cron '30 2 * * *' --zone Europe/Berlin --overlap skip --kind http --payload '{"url": "https://example.org/report?day={{slot}}"}'
  taskweir schedules create poll --every 90s --kind echo
  taskweir schedules create --file schedule.json`,
	}
	f.add(cmd.Flags())
	cmd.Flags().StringVarP(&f.file, "file", "f", "", "the whole request as JSON, a file or - for standard input")
	cmd.Flags().StringVar(&idempotency, "idempotency-key", "", "the same key within 24 h gives the same schedule (default: random)")
	cmd.RunE = s.connected(func(ctx context.Context, c *client, args []string) error {
		body, err := s.wanted(&f, args, cmd.Flags().Changed)
		if err != nil {
			return err
		}
		if idempotency == "" {
			idempotency = rand.Text()
		}
		return s.saved(fetch[apiv1.Schedule](ctx, c, request{method: http.MethodPost, path: "/v1/schedules", query: s.query(), body: body, idempotency: idempotency}))
	})
	return cmd
}

// wanted is the request of a create: a file, or flags.
func (s *scheduleCommands) wanted(f *scheduleFlags, args []string, changed func(string) bool) ([]byte, error) {
	if f.file != "" {
		if len(args) > 0 || f.any(changed) {
			return nil, usage(fmt.Errorf("--file says everything: leave out the name and the other flags"))
		}
		return s.document(f.file)
	}
	if len(args) == 0 {
		return nil, usage(fmt.Errorf("taskweir schedules create needs a name, or --file\n  see: taskweir schedules create --help"))
	}
	in := apiv1.ScheduleInput{Name: args[0]}
	if err := f.apply(s.program, &in, changed); err != nil {
		return nil, err
	}
	return in.AppendJSON(nil)
}

// edit reads a schedule, changes what the flags name and writes it back, unless somebody else changed it meanwhile.
func (s *scheduleCommands) edit() *cobra.Command {
	var f scheduleFlags
	cmd := &cobra.Command{
		Use: "edit SCHEDULE", Short: "Change what the flags name; everything else stays", Args: arguments(1, 1, "an id or a name"),
		Long: "Changes a schedule from its next slot on. With --file the file replaces everything. It is refused when somebody else changes the\nschedule at the same time.",
	}
	f.add(cmd.Flags())
	cmd.Flags().StringVarP(&f.file, "file", "f", "", "the whole schedule as JSON, a file or - for standard input")
	cmd.Flags().StringVar(&f.name, "name", "", "another name")
	cmd.RunE = s.connected(func(ctx context.Context, c *client, args []string) error {
		path, err := s.path(ctx, c, args[0])
		if err != nil {
			return err
		}
		old, _, err := fetch[apiv1.Schedule](ctx, c, get(path, s.query()))
		if err != nil {
			return err
		}
		body, err := s.changed(&f, old, cmd.Flags().Changed)
		if err != nil {
			return err
		}
		return s.saved(fetch[apiv1.Schedule](ctx, c, request{method: http.MethodPut, path: path, query: s.query(), body: body, ifMatch: fmt.Sprintf("%q", strconv.FormatInt(old.Version, 10))}))
	})
	return cmd
}

func (s *scheduleCommands) changed(f *scheduleFlags, old apiv1.Schedule, changed func(string) bool) ([]byte, error) {
	if f.file != "" {
		if f.any(changed) {
			return nil, usage(fmt.Errorf("--file says everything: leave out the other flags"))
		}
		return s.document(f.file)
	}
	if !f.any(changed) {
		return nil, usage(fmt.Errorf("nothing to change: name it by flags\n  see: taskweir schedules edit --help"))
	}
	in := inputOf(old)
	if err := f.apply(s.program, &in, changed); err != nil {
		return nil, err
	}
	return in.AppendJSON(nil)
}

// saved prints a schedule that was written.
func (s *scheduleCommands) saved(sch apiv1.Schedule, raw []byte, err error) error {
	if err != nil || s.json() {
		return s.rawUnless(err, raw)
	}
	if s.quiet {
		return s.say(sch.ID.String())
	}
	return s.say(fmt.Sprintf("%s %s: %s; %s", sch.ID, sch.Name, sch.Description, nextText(sch)))
}

func nextText(sch apiv1.Schedule) string {
	switch {
	case sch.Paused:
		return "paused"
	case sch.NextAt == 0:
		return "nothing is left"
	}
	return "next " + local(sch.NextAt)
}

func (s *scheduleCommands) each(use, short, method, verb, done string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: arguments(1, -1, "at least one id or name"),
		RunE: s.connected(func(ctx context.Context, c *client, args []string) error {
			return forEach(args, func(name string) error {
				path, err := s.path(ctx, c, name)
				if err != nil {
					return err
				}
				raw, err := c.call(ctx, request{method: method, path: path + verb, query: s.query()})
				switch {
				case err != nil:
					return err
				case s.json() && len(raw) > 0:
					return s.printRaw(raw)
				case s.json():
					return s.printJSON(map[string]string{"name": name, "state": done})
				}
				return s.outcome(name, done)
			})
		}),
	}
}
