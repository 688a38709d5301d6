package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/taskweir/taskweir/internal/bench"
	"github.com/taskweir/taskweir/test/peers/measure"
)

// Write writes the files of docs/benchmarks and the README's table into a source tree.
func (r *Report) Write(root string) error {
	dir := filepath.Join(root, "docs", "benchmarks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	for _, f := range []struct {
		name  string
		write func(io.Writer) error
	}{{"peers.json", r.JSON}, {"peers.md", r.Markdown}, {"peers.svg", r.Chart}} {
		var b bytes.Buffer
		if err := f.write(&b); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, f.name), b.Bytes(), 0o644); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	return r.writeREADME(filepath.Join(root, "README.md"))
}

// The markers between which the README's table stands.
const (
	beginMark = "<!-- peers: written by make peers -->"
	endMark   = "<!-- /peers -->"
)

var errNoMarks = errors.New("has no markers for the peers' table")

func (r *Report) writeREADME(file string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("write README: %w", err)
	}
	before, rest, begun := strings.Cut(string(old), beginMark)
	_, after, ended := strings.Cut(rest, endMark)
	if !begun || !ended {
		return fmt.Errorf("%s %w", file, errNoMarks)
	}
	text := before + beginMark + "\n\n" + r.README() + "\n" + endMark + after
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write README: %w", err)
	}
	return nil
}

// readmeRows are what the README shows.
var readmeRows = []struct{ label, figure string }{
	{"drain of 50,000, tasks/s", measure.Drain},
	{"steady, single submits of 256 callers, tasks/s", measure.Steady256},
	{"… of 32 callers", measure.Steady32},
	{"… batches of 500", measure.SteadyBulk},
	{"HTTP callbacks, tasks/s", measure.Callbacks},
	{"CPU ms of all processes per 1,000 drained", measure.DrainCPU},
	{"submit → start at 200/s, p99 ms", measure.Pickup + ", p99"},
	{"10,000 due at once, last one late, ms", measure.InstantSingle + measure.LastLate},
	{"due one by one, p99 late, ms", measure.Spread + ", p99"},
	{"cancel → context ends, p99 ms", measure.Cancel + ", p99"},
	{"memory with 1,000,000 delayed, MB", measure.Memory},
}

// README is the table for the README: one column a system, and what it was measured on.
func (r *Report) README() string {
	var b strings.Builder
	systems := r.tuned()
	b.WriteString("| |")
	for _, s := range systems {
		fmt.Fprintf(&b, " %s |", shortName(s))
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(systems)) + "\n| durable |")
	for _, s := range systems {
		fmt.Fprintf(&b, " %s |", map[bool]string{true: "no", false: "yes"}[s.Durable == ""])
	}
	b.WriteString("\n")
	for _, row := range readmeRows {
		fmt.Fprintf(&b, "| %s |", row.label)
		for _, s := range systems {
			f := s.Figure(row.figure)
			text := r.cell(f)
			if spread := r.spread(f); spread != "" {
				text += "<br>" + spread
			}
			fmt.Fprintf(&b, " %s |", text)
		}
		b.WriteString("\n")
	}
	b.WriteString("| tasks lost, never started or doubled |")
	for _, s := range systems {
		t := s.total()
		fmt.Fprintf(&b, " %s |", bench.Grouped(t.Lost+t.Late+t.Doubled))
	}
	b.WriteString("\n")
	if s := r.System(stockName); s != nil {
		drain, _ := s.median(measure.Drain)
		calls, _ := s.median(measure.Callbacks)
		fmt.Fprintf(&b, "\nAll are tuned, Taskweir by its number of slots, 1,024. With the default, 256, it drains %s tasks/s and makes %s callbacks/s.\n", bench.Number(drain), bench.Number(calls))
	}
	fmt.Fprintf(&b, "\n![Drain, steady work, callbacks and time to the start of all systems](docs/benchmarks/peers.svg)\n\n%s, %s, %s of %d interleaved rounds with the least and the greatest; clients, workers and servers share the processors. \"≥\": the measure gave up waiting. "+
		"Taskweir's own hourly tasks are paused meanwhile, and it is given 5 s to learn how long tasks run. Goals reached: %d of %d. "+
		"Every figure with its spread, all settings and versions, and the goals that were not reached: [docs/benchmarks](docs/benchmarks/peers.md).\n",
		r.Date, r.Machine, strings.ToLower(r.middle()), r.Rounds, len(r.Goals)-len(r.Short()), len(r.Goals))
	return b.String()
}

// shortName is the title's beginning, as far as it tells systems apart.
func shortName(s *System) string {
	for _, n := range []struct{ name, short string }{
		{oursName, "Taskweir"}, {standaloneName, "Taskweir standalone"}, {stockName, "Taskweir"}, {"asynq-aof", "asynq, AOF"}, {"asynq-mem", "asynq, no AOF"},
		{"river", "River"}, {"machinery", "machinery, no results"}, {"machinery-results", "machinery, results"}, {"nsq", "bare NSQ"},
	} {
		if s.Name == n.name {
			return n.short
		}
	}
	return s.Title
}
