package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (p *program) stats() *cobra.Command {
	var from, to, by string
	var step time.Duration
	cmd := &cobra.Command{
		Use: "stats", Short: "What was submitted, what succeeded and failed, how long it waited and ran", Args: arguments(0, 0, ""),
		Long: `Sums up per key of --by, or one line for all: counts, the longest 95th percentiles of waiting and running, and a line that shows how what
ended is spread over the time. With --steps every step is a line of its own.`,
		Example: "  taskweir stats --from 24h --step 1h --by queue\n  taskweir stats --from 15m --step 1m --steps",
	}
	var steps bool
	p.apiFlags(cmd)
	p.appFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&from, "from", "1h", "from this time (RFC 3339), or an age like 15m, 24h, 7d")
	f.StringVar(&to, "to", "", "up to this time, or longer ago than this (default now)")
	f.DurationVar(&step, "step", time.Minute, "length of a step: 1m, 1h, 24h …")
	f.StringVar(&by, "by", "", "one line for each queue, app or kind")
	f.BoolVar(&steps, "steps", false, "one line for each step")
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.FixedCompletions([]string{"queue", "app", "kind"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = p.live(cmd, func(ctx context.Context, c *client, _ []string) error {
		q := p.parameters("by", by, "stepMs", strconv.FormatInt(step.Milliseconds(), 10))
		for _, x := range [][2]string{{"from", from}, {"to", to}} {
			at, err := c.timeFlag(ctx, x[0], x[1])
			if err != nil {
				return err
			}
			if at != 0 {
				q.Set(x[0], at.String())
			}
		}
		s, raw, err := fetch[apiv1.Stats](ctx, c, get("/v1/stats", q))
		if err != nil || p.json() {
			return p.rawUnless(err, raw)
		}
		if steps {
			return p.printStatSteps(s)
		}
		return p.printStats(s)
	})
	return cmd
}

const statColumns = "SUBMITTED SUCCEEDED FAILED RETRIED TIMED-OUT CANCELLED LOST WAIT-P95 RUN-P95"

func statCells(s apiv1.Stat) []string {
	cells := []string{}
	for _, n := range []int64{s.Submitted, s.Succeeded, s.Failed, s.Retried, s.TimedOut, s.Cancelled, s.Lost} {
		cells = append(cells, strconv.FormatInt(n, 10))
	}
	for _, ms := range []*int64{s.WaitP95Ms, s.RunP95Ms} {
		text := ""
		if ms != nil {
			text = milliseconds(*ms)
		}
		cells = append(cells, text)
	}
	return cells
}

func (p *program) printStatSteps(s apiv1.Stats) error {
	var rows [][]string
	for _, item := range s.Items {
		rows = append(rows, append([]string{p.instant(item.At), item.Key}, statCells(item)...))
	}
	return p.table("AT KEY "+statColumns, rows)
}

// sum is what happened to one key over all steps.
type sum struct {
	apiv1.Stat
	ended []int64 // per step
}

func (p *program) printStats(s apiv1.Stats) error {
	var rows [][]string
	for _, k := range sums(s) {
		name := k.Key
		if s.By == "" {
			name = "all"
		}
		rows = append(rows, append(append([]string{name}, statCells(k.Stat)...), sparkline(k.ended, 24)))
	}
	return p.table("KEY "+statColumns+" ENDED", rows)
}

// sums adds the steps up, by key, in the order in which keys appear.
func sums(s apiv1.Stats) []*sum {
	n := 1
	if s.StepMs > 0 && s.To > s.From {
		n = int(min((int64(s.To-s.From)+s.StepMs-1)/s.StepMs, 100_000))
	}
	var order []*sum
	byKey := map[string]*sum{}
	for _, x := range s.Items {
		k := byKey[x.Key]
		if k == nil {
			k = &sum{Stat: apiv1.Stat{Key: x.Key}, ended: make([]int64, n)}
			byKey[x.Key] = k
			order = append(order, k)
		}
		k.Submitted += x.Submitted
		k.Succeeded += x.Succeeded
		k.Failed += x.Failed
		k.Retried += x.Retried
		k.TimedOut += x.TimedOut
		k.Cancelled += x.Cancelled
		k.Lost += x.Lost
		k.WaitP95Ms, k.RunP95Ms = longer(k.WaitP95Ms, x.WaitP95Ms), longer(k.RunP95Ms, x.RunP95Ms)
		if i := int64(x.At-s.From) / max(s.StepMs, 1); i >= 0 && i < int64(n) {
			k.ended[i] += x.Succeeded + x.Failed + x.Cancelled
		}
	}
	return order
}

func longer(a, b *int64) *int64 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// sparkline draws numbers as a line of bars, at most width of them: neighbours are added up.
func sparkline(numbers []int64, width int) string {
	const bars = "▁▂▃▄▅▆▇█"
	if len(numbers) > width {
		folded := make([]int64, width)
		for i, n := range numbers {
			folded[i*width/len(numbers)] += n
		}
		numbers = folded
	}
	most := int64(0)
	for _, n := range numbers {
		most = max(most, n)
	}
	levels := []rune(bars)
	var b strings.Builder
	for _, n := range numbers {
		switch {
		case n <= 0:
			b.WriteRune('·')
		default:
			b.WriteRune(levels[min(int64(len(levels))-1, n*int64(len(levels))/(most+1))])
		}
	}
	return b.String()
}

func (p *program) audit() *cobra.Command {
	var from, to, action, target, key string
	var page pageFlags
	cmd := &cobra.Command{
		Use: "audit", Short: "Who changed what, newest first", Args: arguments(0, 0, ""),
		Long: "Lists changes that somebody made, with who made them and from where. -o json has what it was before and what after.",
	}
	p.apiFlags(cmd)
	p.appFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "at or after this time (RFC 3339), or an age like 15m, 24h, 7d")
	f.StringVar(&to, "to", "", "before this time, or longer ago than this")
	f.StringVar(&action, "action", "", "like queue.pause, app.update, key.create")
	f.StringVar(&target, "target", "", "what was changed: an id or a name")
	f.StringVar(&key, "key", "", "made with this API key (its id)")
	page.add(f, 50)
	cmd.RunE = p.live(cmd, func(ctx context.Context, c *client, _ []string) error {
		q := p.parameters("action", action, "target", target, "key", key)
		for _, x := range [][2]string{{"from", from}, {"to", to}} {
			at, err := c.timeFlag(ctx, x[0], x[1])
			if err != nil {
				return err
			}
			if at != 0 {
				q.Set(x[0], at.String())
			}
		}
		return printList(ctx, p, c, "/v1/audit", q, &page, "ID AT WHO SURFACE ACTION TARGET CHANGE", p.auditRow)
	})
	return cmd
}

func (p *program) auditRow(e apiv1.AuditEntry) []string {
	who := e.Actor.App
	if e.Actor.Key != 0 {
		name := e.Actor.KeyName
		if name == "" {
			name = "key " + e.Actor.Key.String()
		}
		who += "/" + name
	}
	if e.Actor.Address != "" {
		who += " from " + e.Actor.Address
	}
	return []string{e.ID.String(), p.when(e.At), who, e.Actor.Surface, e.Action, e.Target, changeText(e)}
}

// changeText is what a change made of its target, briefly.
func changeText(e apiv1.AuditEntry) string {
	before, after := string(e.Before), string(e.After)
	none := func(s string) bool { return s == "" || s == "null" }
	switch {
	case none(before) && none(after):
		return ""
	case none(before):
		return shorten(after, 120)
	case none(after):
		return fmt.Sprintf("was %s", shorten(before, 120))
	}
	return shorten(before, 80) + " → " + shorten(after, 80)
}
