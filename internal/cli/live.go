package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// live makes the RunE of a command that looks at something, with -w to look again and again. On a terminal the screen is
// redrawn when something changed; elsewhere what changed is printed anew, below what was. It ends with Ctrl-C, exit code 0.
func (p *program) live(cmd *cobra.Command, run func(ctx context.Context, c *client, args []string) error) func(*cobra.Command, []string) error {
	var watch bool
	var every time.Duration
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "look again and again, until Ctrl-C")
	cmd.Flags().DurationVar(&every, "interval", time.Second, "how often to look with --watch, 100ms at least")
	return p.connected(func(ctx context.Context, c *client, args []string) error {
		if !watch {
			return run(ctx, c, args)
		}
		if every < 100*time.Millisecond {
			return usage(errors.New("--interval: must be 100ms or more"))
		}
		err := p.relook(ctx, c, every, func() error { return run(ctx, c, args) })
		if errors.Is(err, errInterrupted) {
			return nil
		}
		return err
	})
}

// relook runs again and again and shows what changed. A server that is away for a moment does not end it.
func (p *program) relook(ctx context.Context, c *client, every time.Duration, run func() error) error {
	out, errs, t := p.Out, p.Err, p.terminal()
	defer func() { p.Out, p.Err = out, errs }()
	saved := p.screen
	p.screen = &t // what is drawn goes into a buffer, but is for this terminal
	defer func() { p.screen = saved }()
	last, away := "", false
	for first := true; ; first = false {
		var text bytes.Buffer
		p.Out, p.Err = &text, &text
		err := run()
		p.Out, p.Err = out, errs
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && (first || exitCode(err) != ExitUnavailable):
			return err
		case err != nil && !away:
			away = true
			p.note("no answer for the moment, still trying")
		case err == nil:
			away = false
			if now := text.String(); now != last || first {
				if err := redraw(out, t, now, first, last != ""); err != nil {
					return err
				}
				last = now
			}
		}
		if err := c.pause(ctx, every); err != nil {
			return err
		}
	}
}

// redraw shows a text in place of the one before.
func redraw(out io.Writer, t terminal, text string, first, another bool) error {
	if !t.is {
		if another && strings.Count(text, "\n") > 1 {
			text = "\n" + text
		}
		_, err := io.WriteString(out, text)
		return err
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if t.height > 2 && len(lines) > t.height-1 {
		more := len(lines) - (t.height - 2)
		lines = append(lines[:t.height-2], fmt.Sprintf("… %d more lines", more))
	}
	if t.width > 0 { // a line that wraps would push the others down
		for i, line := range lines {
			lines[i] = fitStyled(line, t.width)
		}
	}
	start := "\x1b[H"
	if first {
		start = "\x1b[2J\x1b[H"
	}
	_, err := io.WriteString(out, start+"\x1b[K"+strings.Join(lines, "\n\x1b[K")+"\n\x1b[J") // emptied first: behind a full line that would take its last column
	return err
}
