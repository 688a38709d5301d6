package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/taskweir/taskweir/internal/bench"
)

// column is one of those that are measured in turns: a database, or the largest with a purge.
type column struct {
	d     *database
	title string
	purge bool
}

var errFate = errors.New("tasks were lost, doubled or started early")

// speed runs the bench against every database in turns.
func (k *kit) speed(ctx context.Context, all []*database) error {
	var columns []column
	for _, d := range all {
		columns = append(columns, column{d: d, title: d.title})
		if d.name == "growth_large" {
			columns = append(columns, column{d: d, title: d.title + ", purge running", purge: true})
		}
	}
	for round := range k.o.rounds {
		// Every other round goes backwards: what slowly changes of the machine meets first and last alike.
		order := slices.Clone(columns)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, c := range order {
			began := time.Now()
			if err := k.speedOf(ctx, c, round+1); err != nil {
				return fmt.Errorf("%s: %w", c.title, err)
			}
			k.say("round %d of %d, %s: %.0f s", round+1, k.o.rounds, c.title, time.Since(began).Seconds())
		}
	}
	return nil
}

func (k *kit) speedOf(ctx context.Context, c column, round int) error {
	if err := k.forget(ctx); err != nil {
		return err
	}
	if c.d.finished == 0 && c.d.waiting == 0 {
		if err := k.empty(ctx, c.d); err != nil {
			return err
		}
	}
	k.report.figure("speed", presentFigure, "tasks").add(c.title, float64(c.d.present))
	next, err := k.number(ctx, c.d, "SELECT next FROM ids WHERE name='task'")
	if err != nil {
		return err
	}
	oldest, err := k.oldest(ctx, c)
	if err != nil {
		return err
	}
	reads, err := k.counters(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	rep, err := k.bench(ctx, c)
	took := time.Since(began).Seconds()
	if rep != nil {
		for _, f := range rep.Figures {
			k.report.figure("speed", f.Name, f.Unit).add(c.title, f.Values...)
		}
		k.report.fate(c.title, rep)
	}
	if err != nil {
		return err
	}
	if rep.Lost > 0 || rep.Early > 0 || rep.Doubled > 0 {
		return fmt.Errorf("%w: %d lost, %d doubled, %d early", errFate, rep.Lost, rep.Doubled, rep.Early)
	}
	after, err := k.counters(ctx)
	if err != nil {
		return err
	}
	k.report.figure("speed", "pages that the server read from its files", "pages").add(c.title, float64(after-reads))
	left, err := k.number(ctx, c.d, "SELECT COUNT(*) FROM tasks WHERE id>=%d AND state>=4", next)
	if err != nil {
		return err
	}
	c.d.present += left
	if c.purge {
		return k.purged(ctx, c, oldest, took, round)
	}
	return nil
}

// presentFigure says beside how many tasks the others were measured: each round leaves some, and a purge takes some away.
const presentFigure = "finished tasks at the start"

// empty takes away what the bench left in the database that shall have no finished tasks.
func (k *kit) empty(ctx context.Context, d *database) error {
	var b strings.Builder
	for _, table := range []string{"tasks", "payloads", "ends", "attempts", "results", "task_labels", "bells", "claims"} {
		b.WriteString("TRUNCATE TABLE " + table + ";")
	}
	_, err := k.query(ctx, d, "%s", b.String())
	d.present = 0
	return err
}

// counters gives how many pages the server has read that its buffer pool did not hold.
func (k *kit) counters(ctx context.Context) (int64, error) {
	text, err := k.servers.MariaDB.Query(ctx, "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME='INNODB_BUFFER_POOL_READS'")
	if err != nil {
		return 0, err
	}
	var n int64
	_, err = fmt.Sscan(text, &n)
	return n, err
}

// oldest is how far a purge has come: the first succeeded task that is left.
func (k *kit) oldest(ctx context.Context, c column) (int64, error) {
	if !c.purge {
		return 0, nil
	}
	return k.number(ctx, c.d, "SELECT COALESCE(MIN(id),0) FROM (SELECT id FROM tasks WHERE state=4 ORDER BY id LIMIT 1) x")
}

// purged adds how many tasks were deleted each second that the bench took: what is left between the places where the purge was
// and is was too young, as failed and cancelled tasks are.
func (k *kit) purged(ctx context.Context, c column, was int64, took float64, round int) error {
	is, err := k.oldest(ctx, c)
	if err != nil {
		return err
	}
	kept, err := k.number(ctx, c.d, "SELECT COUNT(*) FROM tasks WHERE id>=%d AND id<%d", was, is)
	if err != nil {
		return err
	}
	c.d.present -= is - was - kept
	k.report.figure("speed", "purged meanwhile", "tasks/s").add(c.title, float64(is-was-kept)/took)
	// Tasks grow too old all the time: what did so within an hour is nothing that kept the purge at work.
	left, err := k.number(ctx, c.d, "SELECT COUNT(*) FROM (SELECT 1 FROM tasks WHERE id=%d AND finished_at<CAST(UNIX_TIMESTAMP(NOW(3))*1000 AS SIGNED)-%d) x", is, retentionDays*dayMs+hourMs)
	if err != nil {
		return err
	}
	if left == 0 {
		k.report.note("Round %d, %s: the purge had nothing left to delete before the measures ended.", round, c.title)
	}
	return nil
}

// bench runs "taskweir bench" and gives its report; also what it had measured before an error.
func (k *kit) bench(ctx context.Context, c column) (*bench.Report, error) {
	s := k.servers
	args := []string{"bench", "-o", "json", "--rounds", "1", "--only", strings.Join([]string{bench.StepDrain, bench.StepSteady, bench.StepPickup, bench.StepDelays}, ","),
		"--pid", fmt.Sprintf("mariadbd=%d", s.MariaDB.PID()), "--pid", fmt.Sprintf("nsqd=%d", s.NSQD[0].PID())}
	if k.o.quick {
		args = append(args, "--quick")
	}
	env := slices.Clone(c.d.env)
	if c.purge {
		args = append(args, "--purge")
	} else {
		env = append(env, "TASKWEIR_RETENTION_SUCCEEDED="+forever, "TASKWEIR_RETENTION_FAILED="+forever)
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, k.programs.Path("taskweir"), args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "TASKWEIR_") }), env...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	failed := cmd.Run()
	if failed != nil {
		failed = fmt.Errorf("taskweir bench: %w\n%s", failed, errs.Bytes())
	}
	if out.Len() == 0 {
		return nil, failed
	}
	var rep bench.Report
	if err := json.Unmarshal(out.Bytes(), &rep); err != nil && failed == nil {
		failed = fmt.Errorf("read the bench's report: %w", err)
	}
	return &rep, failed
}
