package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

// takeover is what the death of the only scheduler does to schedules: it is killed, and a fresh one started, in each round.
type takeover struct {
	Rounds  int     `json:"rounds"`
	LateMs  float64 `json:"lateMs"`  // the median of the rounds' worst slots: from a slot's instant to the start of its task
	WorstMs float64 `json:"worstMs"` // the worst slot of all
	Slots   int     `json:"slots"`
	Missing int     `json:"missing"` // slots without a row
	Doubled int     `json:"doubled"` // slots beyond the first with the same task, and fired ones without one
}

const (
	takeoverSchedules = 20
	takeoverWatch     = 8 * time.Second // of a round, from the kill on
)

func measureTakeover(ctx context.Context, p testkit.Programs, rounds int) (_ *takeover, err error) {
	fmt.Fprintln(os.Stderr, "benchrun: takeover from a killed scheduler")
	if err := testkit.Build(ctx, p.Dir, "./cmd/api", "./cmd/scheduler", "./cmd/worker"); err != nil {
		return nil, err
	}
	c, err := testkit.StartCluster(ctx, testkit.ClusterOptions{Programs: p, Schedulers: 1, Workers: 1})
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := c.Close(); err == nil {
			err = cerr
		}
	}()
	for i := range takeoverSchedules {
		out, err := c.CLI(ctx, "schedules", "create", fmt.Sprintf("s-%d", i), "--every", "1s", "--kind", "echo")
		if err != nil {
			return nil, fmt.Errorf("%w: %s", err, out)
		}
	}
	if err := pause(ctx, 3*time.Second); err != nil {
		return nil, err
	}
	t := &takeover{Rounds: rounds}
	var worst []float64
	for range rounds {
		late, err := t.round(ctx, c)
		if err != nil {
			return nil, err
		}
		worst = append(worst, late)
	}
	slices.Sort(worst)
	t.LateMs, t.WorstMs = worst[len(worst)/2], worst[len(worst)-1]
	return t, t.count(ctx, c)
}

// round kills the scheduler, starts a fresh one, and gives how late the worst slot of the next seconds started.
func (t *takeover) round(ctx context.Context, c *testkit.Cluster) (lateMs float64, err error) {
	from, err := c.MariaDB.Query(ctx, "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)")
	if err != nil {
		return 0, err
	}
	c.Schedulers[0].Kill()
	if err := c.Schedulers[0].Restart(ctx); err != nil {
		return 0, err
	}
	if err := pause(ctx, takeoverWatch); err != nil {
		return 0, err
	}
	ms, err := strconv.ParseInt(strings.TrimSpace(from), 10, 64)
	if err != nil {
		return 0, err
	}
	late, err := c.MariaDB.Query(ctx, fmt.Sprintf("SELECT MAX(IF(t.started_at > 0, t.started_at, UNIX_TIMESTAMP(NOW(3)) * 1000) - s.slot_at) FROM taskweir.slots s"+
		" JOIN taskweir.schedules r ON r.id = s.schedule_id AND r.name LIKE 's-%%' JOIN taskweir.tasks t ON t.id = s.task_id WHERE s.slot_at BETWEEN %d AND %d",
		ms, ms+(takeoverWatch-3*time.Second).Milliseconds()))
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(late), 64)
}

// count looks for holes in the history of all schedules, and for slots that share a task or have none.
func (t *takeover) count(ctx context.Context, c *testkit.Cluster) error {
	text, err := c.MariaDB.Query(ctx, "SELECT SUM(n), SUM(span - n), SUM(n - tasks) FROM (SELECT COUNT(*) AS n, (MAX(slot_at) - MIN(slot_at)) DIV 1000 + 1 AS span,"+
		" COUNT(DISTINCT NULLIF(task_id, 0)) AS tasks FROM taskweir.slots s JOIN taskweir.schedules r ON r.id = s.schedule_id AND r.name LIKE 's-%' GROUP BY schedule_id) x")
	if err != nil {
		return err
	}
	if _, err := fmt.Sscan(text, &t.Slots, &t.Missing, &t.Doubled); err != nil {
		return fmt.Errorf("read %q: %w", text, err)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t *takeover) markdown(w io.Writer) {
	verdict := func(ok bool) string { return map[bool]string{true: "yes", false: "no"}[ok] }
	fmt.Fprintf(w, "## Takeover from a killed scheduler\n\nOne scheduler, %d schedules that fire each second: kill -9, then a fresh one (%d rounds).\n\n", takeoverSchedules, t.Rounds)
	fmt.Fprintf(w, "| What | Measured | Goal | Met |\n|---|---:|---|---|\n")
	fmt.Fprintf(w, "| the latest slot starts late by, median of the rounds | %.0f ms | ≤ 5,000 ms | %s |\n", t.LateMs, verdict(t.LateMs <= 5000))
	fmt.Fprintf(w, "| … at worst | %.0f ms | | |\n", t.WorstMs)
	fmt.Fprintf(w, "| slots missing, doubled | %d, %d of %d | 0 | %s |\n\n", t.Missing, t.Doubled, t.Slots, verdict(t.Missing == 0 && t.Doubled == 0))
}
