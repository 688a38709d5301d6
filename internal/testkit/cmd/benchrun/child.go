package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/taskweir/taskweir/internal/bench"
	"github.com/taskweir/taskweir/internal/procstat"
	"github.com/taskweir/taskweir/internal/testkit"
)

// runBench runs "taskweir bench" with settings and gives its report; also what it had measured before an error.
func runBench(ctx context.Context, o options, p testkit.Programs, env, processes []string) (*bench.Report, error) {
	args := []string{"bench", "-o", "json"}
	if o.quick {
		args = append(args, "--quick")
	}
	if o.rounds > 0 {
		args = append(args, "--rounds", strconv.Itoa(o.rounds))
	}
	if o.steps != "" {
		args = append(args, "--only", o.steps)
	}
	for _, process := range processes {
		args = append(args, "--pid", process)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, p.Path("taskweir"), args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "TASKWEIR_") }), env...)
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	failed := cmd.Run()
	if failed != nil {
		failed = fmt.Errorf("taskweir bench: %w", failed)
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

// idle is what a standalone costs that has nothing to do.
type idle struct {
	StartMs     float64 `json:"startMs"`     // from its start to its first good health check, which is asked each 20 ms
	ResidentMiB float64 `json:"residentMiB"` // memory in RAM at the end
	CorePercent float64 `json:"corePercent"` // of one core
}

func measureIdle(ctx context.Context, o options, p testkit.Programs) (_ *idle, err error) {
	settle, watch := 5*time.Second, 15*time.Second
	if o.quick {
		settle, watch = 2*time.Second, 5*time.Second
	}
	began := time.Now()
	s, err := testkit.StartStandalone(ctx, testkit.StandaloneOptions{Programs: p, Dir: filepath.Join(p.Dir, "idle")})
	if err != nil {
		return nil, err
	}
	i := &idle{StartMs: float64(time.Since(began).Microseconds()) / 1000}
	defer func() {
		if serr := s.Stop(context.WithoutCancel(ctx)); err == nil {
			err = serr
		}
	}()
	before, after := time.Duration(0), time.Duration(0)
	for _, step := range []struct {
		wait time.Duration
		cpu  *time.Duration
	}{{settle, &before}, {watch, &after}} {
		select {
		case <-time.After(step.wait):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if *step.cpu, err = procstat.CPU(s.PID()); err != nil {
			return nil, err
		}
	}
	i.CorePercent = 100 * (after - before).Seconds() / watch.Seconds()
	resident, err := procstat.Resident(s.PID())
	if err != nil {
		return nil, err
	}
	i.ResidentMiB = float64(resident) / (1 << 20)
	return i, nil
}

func (i *idle) markdown(w io.Writer) {
	verdict := func(ok bool) string { return map[bool]string{true: "yes", false: "no"}[ok] }
	fmt.Fprintf(w, "## Idle standalone\n\n| What | Measured | Goal | Met |\n|---|---:|---|---|\n")
	fmt.Fprintf(w, "| start to ready | %.0f ms | ≤ 1,000 ms | %s |\n", i.StartMs, verdict(i.StartMs <= 1000))
	fmt.Fprintf(w, "| resident | %.1f MiB | ≤ 80 MB | %s |\n", i.ResidentMiB, verdict(i.ResidentMiB*1.048576 <= 80))
	fmt.Fprintf(w, "| processor | %.2f %% of a core | ≤ 1 %% | %s |\n\n", i.CorePercent, verdict(i.CorePercent <= 1))
}
