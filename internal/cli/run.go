package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/internal/config"
)

func (p *program) standalone() *cobra.Command {
	var o StandaloneOptions
	cmd := &cobra.Command{
		Use: "standalone", Short: "Run everything in this process, on embedded parts", Args: arguments(0, 0, ""),
		Long: `Runs API, scheduler and worker in this process: nsqd, Redis and database are embedded and keep their data in the data folder. Name
the address of a real server to use it instead of the embedded one.

Ctrl-C drains; starting it again goes on where it was. A second Ctrl-C ends it at once.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.LoadFlags(config.Standalone, cmd.Flags(), p.Environ)
			if err != nil {
				return err
			}
			o.Demo = o.Demo || o.DemoExit
			return p.Standalone(cmd.Context(), cfg, o)
		},
	}
	cmd.Flags().BoolVar(&o.Demo, "demo", false, "submit three tasks and print what happens to them")
	cmd.Flags().BoolVar(&o.DemoExit, "demo-exit", false, "as --demo, and end when they are done")
	config.AddFlags(cmd.Flags(), config.Standalone)
	return cmd
}

func (p *program) bench() *cobra.Command {
	return &cobra.Command{
		Use: "bench [flags]", Short: "Measure throughput and latency beside the machine's own yardsticks", DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error { return p.Bench(cmd.Context(), args) },
	}
}

func (p *program) migrate() *cobra.Command {
	cmd := group("migrate", "Change the database's tables", `Changes the tables of the database named by --database-url. Every change can be applied while processes of the release before run;
apply them, then restart the processes.`)
	config.AddFlags(cmd.PersistentFlags(), config.Operator)
	for _, a := range []struct{ name, short string }{
		{"up", "Apply every change that is missing"},
		{"down", "Take the newest change back, with the data in it"},
		{"status", "List the changes and when they were applied"},
	} {
		cmd.AddCommand(&cobra.Command{
			Use: a.name, Short: a.short, Args: arguments(0, 0, ""),
			RunE: p.operating(func(ctx context.Context, c *config.Config) error { return p.runMigration(ctx, c, a.name) }),
		})
	}
	return cmd
}

func (p *program) runMigration(ctx context.Context, c *config.Config, action string) error {
	steps, err := p.Migrate(ctx, c, action)
	if perr := p.printSteps(steps, action); err == nil {
		err = perr
	}
	if err != nil {
		return fmt.Errorf("migrate %s of %s: %w", action, c.Database.URL, err)
	}
	if len(steps) == 0 && !p.json() {
		_, err = fmt.Fprintln(p.Err, "nothing to do: "+c.Database.URL.String()+" is as it should be")
	}
	return err
}

func (p *program) printSteps(steps []MigrationStep, action string) error {
	if p.json() {
		if steps == nil {
			steps = []MigrationStep{}
		}
		return p.printJSON(map[string]any{"action": action, "steps": steps})
	}
	if len(steps) == 0 {
		return nil
	}
	rows := make([][]string, 0, len(steps))
	for _, s := range steps {
		state := map[string]string{"up": "applied", "down": "taken back"}[action]
		if action == "status" {
			if state = "missing"; s.AppliedAt != 0 {
				state = "applied " + local(apiTime(s.AppliedAt))
			}
		}
		rows = append(rows, []string{fmt.Sprintf("%04d", s.Version), s.Name, state})
	}
	return p.table("VERSION NAME STATE", rows)
}
