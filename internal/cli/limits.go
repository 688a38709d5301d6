package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// limitFlags change limits: what no flag names stays.
type limitFlags struct {
	rate, concurrency string
	burst             int
	paused            bool
}

func (f *limitFlags) add(fs *pflag.FlagSet) {
	f.addLimits(fs)
	fs.BoolVar(&f.paused, "paused", false, "paused, or with =false not")
}

// any reports whether a limit was given.
func (f *limitFlags) any(changed func(string) bool) bool {
	return changed("rate") || changed("burst") || changed("concurrency")
}

// member puts the limits that the flags make of old ones into a request, if they say any.
func (f *limitFlags) member(in map[string]any, old apiv1.Limits, changed func(string) bool) error {
	if !f.any(changed) {
		return nil
	}
	if err := f.apply(&old, changed); err != nil {
		return err
	}
	in["limits"] = old
	return nil
}

func (f *limitFlags) addLimits(fs *pflag.FlagSet) {
	fs.StringVar(&f.rate, "rate", "", "starts in a time, like 50/s, 100/1m or 5/100ms, or none")
	fs.IntVar(&f.burst, "burst", 0, "starts at once after a pause (default what 100 ms allow, at least 1)")
	fs.StringVar(&f.concurrency, "concurrency", "", "tasks that run at once over all workers, or none")
}

// apply puts the flags that were given into limits.
func (f *limitFlags) apply(l *apiv1.Limits, changed func(string) bool) error {
	if changed("rate") {
		r, err := parseRate(f.rate)
		if err != nil {
			return err
		}
		if r != nil && l.Rate != nil {
			r.Burst = l.Rate.Burst
		}
		l.Rate = r
	}
	if changed("burst") {
		if l.Rate == nil {
			return usage(errors.New("--burst: goes with a rate"))
		}
		l.Rate.Burst = f.burst
	}
	if !changed("concurrency") {
		return nil
	}
	if f.concurrency == "none" {
		l.Concurrency = nil
		return nil
	}
	n, err := strconv.Atoi(f.concurrency)
	if err != nil {
		return usage(fmt.Errorf("--concurrency: %q is no number, and not none", f.concurrency))
	}
	l.Concurrency = &n
	return nil
}

// parseRate reads 50/s, 100/1m, none.
func parseRate(text string) (*apiv1.Rate, error) {
	if text == "none" {
		return nil, nil
	}
	wrong := usage(fmt.Errorf("--rate: %q is no rate like 50/s, 100/1m or 5/100ms, and not none", text))
	number, per, ok := strings.Cut(text, "/")
	n, err := strconv.Atoi(number)
	if !ok || err != nil {
		return nil, wrong
	}
	if per != "" && (per[0] < '0' || per[0] > '9') {
		per = "1" + per
	}
	d, err := ageFlag(per)
	if err != nil || d.Milliseconds() < 1 {
		return nil, wrong
	}
	return &apiv1.Rate{Tasks: n, PerMs: d.Milliseconds()}, nil
}

// rateText reads like 50/s, 100/1m0s (burst 5).
func rateText(r *apiv1.Rate) string {
	if r == nil {
		return ""
	}
	per := milliseconds(r.PerMs)
	if r.PerMs == 1000 || r.PerMs == 0 {
		per = "s"
	}
	text := fmt.Sprintf("%d/%s", r.Tasks, per)
	if r.Burst > 0 {
		text += fmt.Sprintf(" (burst %d)", r.Burst)
	}
	return text
}

func concurrencyText(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

// limitKeys are the commands for keys that tasks share limits by.
func (p *program) limitKeys() *cobra.Command {
	var page pageFlags
	list := &cobra.Command{Use: "list", Short: "List the limit keys", Args: arguments(0, 0, "")}
	list.RunE = p.live(list, func(ctx context.Context, c *client, _ []string) error {
		return printList(ctx, p, c, "/v1/limit-keys", p.withApp(nil), &page, limitKeyHeader, limitKeyRow)
	})
	cmd := group("limit-keys", "Limit tasks that share a key", `Tasks that are submitted with --limit-key share the limits of that key, over all queues and workers of their app.

  taskweir limit-keys set customer-17 --rate 10/s --concurrency 2
  taskweir tasks submit http --limit-key customer-17 --payload '{"url": "https://example.org/hook"}'`)
	cmd.RunE = listWithoutArguments(list)
	page.add(list.Flags(), 50)
	p.apiFlags(cmd)
	p.appFlag(cmd)
	of := under("/v1/limit-keys/")
	cmd.AddCommand(list,
		p.completing(completeLimitKeys, get1(p, "get KEY...", "Show limit keys", of, func(k apiv1.LimitKey) error {
			return p.table(limitKeyHeader, [][]string{limitKeyRow(k)})
		})),
		p.completing(completeLimitKeys, p.setLimitKey()),
		p.completing(completeLimitKeys, p.each("pause KEY...", "Start nothing more with these keys; what runs goes on", http.MethodPost, of, "/pause", "paused")),
		p.completing(completeLimitKeys, p.each("resume KEY...", "Start tasks with these keys again", http.MethodPost, of, "/resume", "resumed")),
		p.completing(completeLimitKeys, p.each("delete KEY...", "Forget limits of keys: their tasks are no longer limited by them", http.MethodDelete, of, "", "deleted")))
	return cmd
}

const limitKeyHeader = "KEY STATE RATE CONCURRENCY RUNNING"

func limitKeyRow(k apiv1.LimitKey) []string {
	return []string{k.Key, openOrPaused(k.Paused), rateText(k.Limits.Rate), concurrencyText(k.Limits.Concurrency), concurrencyText(k.Running)}
}

func openOrPaused(paused bool) string {
	if paused {
		return "paused"
	}
	return "open"
}

func (p *program) setLimitKey() *cobra.Command {
	cmd := &cobra.Command{Use: "set KEY", Short: "Limit a key; what the flags do not name stays", Args: arguments(1, 1, "a key")}
	return p.limiting(cmd, under("/v1/limit-keys/"), func(raw []byte) (string, error) {
		var k apiv1.LimitKey
		err := json.Unmarshal(raw, &k)
		return openOrPaused(k.Paused) + ", " + limitsText(k.Limits), err
	})
}

// limiting makes cmd read what is, change what the flags name and write it back. What is not there yet is made.
func (p *program) limiting(cmd *cobra.Command, path func(string) (string, error), text func([]byte) (string, error)) *cobra.Command {
	var f limitFlags
	f.add(cmd.Flags())
	cmd.RunE = p.connected(func(ctx context.Context, c *client, args []string) error {
		if !f.any(cmd.Flags().Changed) && !cmd.Flags().Changed("paused") {
			return usage(fmt.Errorf("nothing to change: name it by flags\n  see: %s --help", cmd.CommandPath()))
		}
		address, err := path(args[0])
		if err != nil {
			return err
		}
		body, err := f.changedLimits(ctx, c, get(address, p.withApp(nil)), cmd.Flags().Changed)
		if err != nil {
			return err
		}
		raw, err := c.call(ctx, request{method: http.MethodPut, path: address, query: p.withApp(url.Values{}), body: body})
		if err != nil || p.json() {
			return p.rawUnless(err, raw)
		}
		line, err := text(raw)
		if err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		return p.outcome(args[0], line)
	})
	return cmd
}

func (f *limitFlags) changedLimits(ctx context.Context, c *client, r request, changed func(string) bool) ([]byte, error) {
	now, _, err := fetch[struct {
		Limits apiv1.Limits `json:"limits"`
		Paused bool         `json:"paused"`
	}](ctx, c, r)
	if err != nil && exitCode(err) != ExitNotFound {
		return nil, err
	}
	if err := f.apply(&now.Limits, changed); err != nil {
		return nil, err
	}
	if changed("paused") {
		now.Paused = f.paused
	}
	in := apiv1.QueueUpdate{Paused: now.Paused}
	if now.Limits.Rate != nil || now.Limits.Concurrency != nil {
		in.Limits = &now.Limits
	}
	return json.Marshal(in)
}

func limitsText(l apiv1.Limits) string {
	var parts []string
	if l.Rate != nil {
		parts = append(parts, "rate "+rateText(l.Rate))
	}
	if l.Concurrency != nil {
		parts = append(parts, "concurrency "+concurrencyText(l.Concurrency))
	}
	if len(parts) == 0 {
		parts = append(parts, "no limits")
	}
	return strings.Join(parts, ", ")
}
