package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (p *program) waitTasks() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "wait ID...", Short: "Wait until tasks are final, and print them", Args: arguments(1, -1, "at least one id"),
		Long: `Waits until every task is final and prints each. The exit code is 0 when all succeeded, 8 when one failed, 9 when one was cancelled,
10 when --timeout is over.`,
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "give up after this time, like 5m (default: never)")
	cmd.RunE = p.connected(func(ctx context.Context, c *client, args []string) error {
		for _, id := range args {
			if _, err := taskPath(id); err != nil {
				return err
			}
		}
		if timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, timeout, errWaited)
			defer cancel()
		}
		return forEach(args, func(id string) error {
			n, _ := apiv1.ParseID(id)
			return p.await(ctx, c, apiv1.Task{ID: n})
		})
	})
	return cmd
}

// errWaited ends a wait whose time is over.
var errWaited = &exitError{code: ExitTimeout, err: errors.New("the time is over and the task is not final")}

// soon is how long a task is waited for before its verdict is told.
const soon = 2 * time.Second

// await asks again and again until a task is final, and prints it. The task is stored, so a server that is away for a moment
// does not end it. Of a task that is due and does not start it tells why, once and again when that changes: nobody may be there
// who ever would.
func (p *program) await(ctx context.Context, c *client, t apiv1.Task) error {
	why, wait := "", soon
	for told := false; ; {
		now, raw, err := fetch[apiv1.Task](ctx, c, get("/v1/tasks/"+t.ID.String(), p.withApp(waitQuery(wait))))
		switch {
		case err == nil && apiv1.Final(now.State):
			return p.awaited(now, raw)
		case err == nil:
			if v := now.Verdict; v != nil && now.State == apiv1.StateQueued && v.Code != why {
				why = v.Code
				p.note("it waits: %s: %s", v.Code, v.Text)
			}
			wait = 30 * time.Second
			continue
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case exitCode(err) != ExitUnavailable:
			return err
		case !told:
			told = true
			p.note("no answer for the moment, still trying")
		}
		if err := c.pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

func (p *program) awaited(t apiv1.Task, raw []byte) error {
	var err error
	if p.json() {
		err = p.printRaw(raw)
	} else {
		err = p.printTask(t)
	}
	if err != nil {
		return fmt.Errorf("print the task: %w", err)
	}
	return verdict(t.State)
}
