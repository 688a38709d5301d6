package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (p *program) taskStack() *cobra.Command {
	cmd := &cobra.Command{
		Use: "stack ID", Short: "Show the live stack of a running attempt", Args: arguments(1, 1, "an id"),
		Long: "Shows where in its code a running attempt is: the goroutines of its handler, innermost call first.",
	}
	cmd.RunE = p.live(cmd, func(ctx context.Context, c *client, args []string) error {
		path, err := taskPath(args[0])
		if err != nil {
			return err
		}
		s, raw, err := fetch[apiv1.Stack](ctx, c, get(path+"/stack", p.withApp(nil)))
		if err != nil || p.json() {
			return p.rawUnless(err, raw)
		}
		return p.printStack(s)
	})
	return cmd
}

func (p *program) printStack(s apiv1.Stack) error {
	zombie := ""
	if s.Zombie {
		zombie = ", zombie: its handler ignores that its time is over"
	}
	if err := p.say(fmt.Sprintf("attempt %s, epoch %d, on worker %s since %s%s", s.Attempt, s.Epoch, s.Worker, milliseconds(s.ElapsedMs), zombie)); err != nil {
		return err
	}
	if len(s.Progress) > 0 && string(s.Progress) != "null" {
		if err := p.say("progress " + shorten(string(s.Progress), 400)); err != nil {
			return err
		}
	}
	for i, g := range s.Goroutines {
		text := fmt.Sprintf("\ngoroutine %d: %s\n", i+1, clean(g.State))
		for _, f := range g.Frames {
			text += "  " + clean(f.Function) + "\n      " + clean(f.File) + ":" + strconv.Itoa(f.Line) + "\n"
		}
		if _, err := io.WriteString(p.Out, text); err != nil {
			return err
		}
	}
	return nil
}

// completeFlags say how an attempt ended that its receiver took over.
type completeFlags struct {
	epoch                        int
	outcome, result, code, cause string
	permanent                    bool
	retryAfter                   string
}

func (p *program) completeTask() *cobra.Command {
	var f completeFlags
	cmd := &cobra.Command{
		Use: "complete ID --epoch N --outcome succeeded|failed", Short: "Tell how an attempt ended that its receiver took over with 202", Args: arguments(1, 1, "an id"),
		Example: `  taskweir tasks complete 17 --epoch 2 --outcome succeeded --result '{"sent": 3}'
  taskweir tasks complete 17 --epoch 2 --outcome failed --code no_stock --message "sold out" --permanent`,
	}
	fs := cmd.Flags()
	fs.IntVar(&f.epoch, "epoch", 0, "of the attempt: the Taskweir-Epoch of its call")
	fs.StringVar(&f.outcome, "outcome", "", "succeeded or failed")
	fs.StringVar(&f.result, "result", "", "with succeeded: JSON, @file, or - for standard input")
	fs.StringVar(&f.code, "code", "", "with failed: a code like no_stock")
	fs.StringVar(&f.cause, "message", "", "with failed: why, for people")
	fs.BoolVar(&f.permanent, "permanent", false, "with failed: no retry can help")
	fs.StringVar(&f.retryAfter, "retry-after", "", "with failed: not again before this time is over, like 90s")
	_ = cmd.RegisterFlagCompletionFunc("outcome", cobra.FixedCompletions([]string{"succeeded", "failed"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = p.connected(func(ctx context.Context, c *client, args []string) error {
		body, err := p.completion(&f, cmd.Flags().Changed)
		if err != nil {
			return err
		}
		return p.act(ctx, c, args[0], "/complete", p.withApp(nil), body)
	})
	return cmd
}

func (p *program) completion(f *completeFlags, changed func(string) bool) ([]byte, error) {
	if !changed("epoch") || !changed("outcome") {
		return nil, usage(errors.New("taskweir tasks complete needs --epoch and --outcome: a late answer must not end a newer attempt"))
	}
	in := apiv1.Complete{Epoch: f.epoch, Outcome: f.outcome, Permanent: f.permanent}
	if changed("code") || changed("message") {
		in.Error = &apiv1.CompleteError{Code: f.code, Message: f.cause}
	}
	if changed("retry-after") {
		d, err := ageFlag(f.retryAfter)
		if err != nil {
			return nil, usage(fmt.Errorf("--retry-after: %q is no duration like 90s", f.retryAfter))
		}
		ms := d.Milliseconds()
		in.RetryAfterMs = &ms
	}
	body, err := json.Marshal(in)
	if err != nil || !changed("result") {
		return body, err
	}
	result, err := p.payload(f.result)
	if err != nil {
		return nil, err
	}
	return append(append(append(body[:len(body)-1], `,"result":`...), result...), '}'), nil
}
