package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/internal/doctor"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

func apiTime(ms int64) apiv1.Time { return apiv1.Time(ms) }

func (p *program) doctor() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check every dependency and say how to mend what is wrong", Args: arguments(0, 0, ""),
		Long: `Checks the configuration, the database (durability, limits, schema, clock), Redis, every nsqd and every nsqlookupd, from this machine and
with the settings of the processes. It changes nothing. The exit code is 1 when there is a problem.`,
		RunE: p.operating(func(ctx context.Context, c *config.Config) error {
			report := doctor.Run(ctx, c, p.Probes)
			if err := p.printReport(report); err != nil {
				return err
			}
			if report.Problems > 0 {
				return &exitError{code: ExitFailure, err: errors.New("problems were found"), silent: true}
			}
			return nil
		}),
	}
	config.AddFlags(cmd.Flags(), config.Operator)
	return cmd
}

func (p *program) printReport(r doctor.Report) error {
	if p.json() {
		return p.printJSON(r)
	}
	marks := map[doctor.Level]string{doctor.OK: "ok", doctor.Warning: "WARNING", doctor.Problem: "PROBLEM"}
	for _, f := range r.Findings {
		if _, err := fmt.Fprintf(p.Out, "%-8s %-13s %s: %s\n", marks[f.Level], f.Area, f.Check, printable(f.Text)); err != nil {
			return err
		}
		if f.Mend != "" {
			fmt.Fprintf(p.Out, "%22s → %s\n", "", f.Mend)
		}
	}
	_, err := fmt.Fprintf(p.Out, "\n%d checks, %d warnings, %d problems\n", len(r.Findings), r.Warnings, r.Problems)
	return err
}
