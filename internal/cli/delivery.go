package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (p *program) taskDelivery() *cobra.Command {
	return &cobra.Command{
		Use: "delivery ID [ATTEMPT]", Short: "Show what an attempt sent and what it was answered (the newest attempt unless named)",
		Args: arguments(1, 2, "a task's id and, if wanted, an attempt's"), RunE: p.connected(p.showDelivery),
	}
}

func (p *program) showDelivery(ctx context.Context, c *client, args []string) error {
	path, err := taskPath(args[0])
	if err != nil {
		return err
	}
	attempt := ""
	if len(args) == 2 {
		attempt = args[1]
	} else {
		t, _, err := fetch[apiv1.Task](ctx, c, get(path, p.withApp(nil)))
		if err != nil {
			return err
		}
		if len(t.Attempts) == 0 {
			_, err := fmt.Fprintln(p.Out, "it has not been attempted yet")
			return err
		}
		attempt = t.Attempts[len(t.Attempts)-1].ID.String()
	}
	a, raw, err := fetch[apiv1.AttemptDetail](ctx, c, get(path+"/attempts/"+url.PathEscape(attempt), p.withApp(nil)))
	if err != nil || p.json() {
		return p.rawUnless(err, raw)
	}
	var d *apiv1.Delivery
	if len(a.Delivery) > 0 {
		if err := json.Unmarshal(a.Delivery, &d); err != nil {
			return fmt.Errorf("read the delivery: %w", err)
		}
	}
	if d == nil {
		_, err := fmt.Fprintf(p.Out, "attempt %s (%s): nothing was kept of its call\n", a.Attempt.ID, a.Attempt.Outcome)
		return err
	}
	return p.printDelivery(&a.Attempt, d)
}

func (p *program) printDelivery(a *apiv1.Attempt, d *apiv1.Delivery) error {
	_, _ = fmt.Fprintf(p.Out, "attempt %s, epoch %d: %s\n\n%s %s\n", a.ID, a.Epoch, a.Outcome, printable(d.Method), printable(d.URL))
	part := func(headers [][2]string, body string) {
		for _, h := range headers {
			_, _ = fmt.Fprintf(p.Out, "%s: %s\n", printable(h[0]), printable(h[1]))
		}
		_, _ = fmt.Fprintf(p.Out, "\n%s\n\n", printableLines(body))
	}
	part(d.RequestHeaders, d.RequestBody)
	if d.Status != 0 {
		_, _ = fmt.Fprintf(p.Out, "%d after %d ms\n", d.Status, d.DurationMs)
		part(d.ResponseHeaders, d.ResponseBody)
	}
	if d.Error != "" {
		_, err := fmt.Fprintf(p.Out, "no whole answer after %d ms: %s\n", d.DurationMs, printable(d.Error))
		return err
	}
	return nil
}
