package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// errReceiver ends the command when the receiver did something wrong.
var errReceiver = errors.New("the receiver does not take callbacks as it should")

func (p *program) testCallback() *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use: "test-callback APP", Short: "Call an app's receiver as a callback would, and explain what it does wrong",
		Long: `A worker POSTs a signed test to the app's callback URL (with the header Taskweir-Probe), and one with a wrong signature that the
receiver should refuse. Exit code 1 when something is wrong.`,
		Args: arguments(1, 1, "an app's public id"),
	}
	cmd.Flags().StringVar(&kind, "kind", "", "kind of callbacks to try, for example goodjob.callback (default callback)")
	cmd.RunE = p.connected(func(ctx context.Context, c *client, args []string) error { return p.tryCallback(ctx, c, args[0], kind) })
	return cmd
}

func (p *program) tryCallback(ctx context.Context, c *client, app, kind string) error {
	query := url.Values{}
	if kind != "" {
		query.Set("kind", kind)
	}
	t, raw, err := fetch[apiv1.CallbackTest](ctx, c, post("/v1/apps/"+url.PathEscape(app)+"/test-callback", query, nil))
	if err != nil {
		return err
	}
	if p.json() {
		err = p.printRaw(raw)
	} else {
		err = p.showTest(&t)
	}
	if err == nil && !wellDone(&t) {
		return errReceiver
	}
	return err
}

// wellDone reports whether the receiver took what it should and nothing else.
func wellDone(t *apiv1.CallbackTest) bool {
	for _, try := range t.Tries {
		if try.Forged && try.Accepted {
			return false
		}
	}
	return t.OK
}

func (p *program) showTest(t *apiv1.CallbackTest) error {
	if t.URL != "" {
		_, _ = fmt.Fprintf(p.Out, "POST %s (%s)\n\n", printable(t.URL), printable(t.Kind))
	}
	var rows [][]string
	for _, try := range t.Tries {
		answer := fmt.Sprint(try.Status)
		if try.Error != "" {
			answer = try.Error
		}
		verdict := "refused"
		if try.Accepted {
			verdict = "accepted"
		}
		rows = append(rows, []string{try.Name, verdict, answer, fmt.Sprintf("%d ms", try.DurationMs)})
	}
	if len(rows) > 0 {
		if err := p.table("CALL RECEIVER ANSWER TIME", rows); err != nil {
			return err
		}
		_, _ = fmt.Fprintln(p.Out)
	}
	for _, f := range t.Findings {
		if _, err := fmt.Fprintln(p.Out, "- "+printable(f)); err != nil {
			return err
		}
	}
	return nil
}
