package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/bench"
	"github.com/taskweir/taskweir/internal/testkit"
)

// report is everything that was measured.
type report struct {
	Date      string             `json:"date"`
	Machine   string             `json:"machine"`
	CPUs      int                `json:"cpus"`
	MemoryGiB float64            `json:"memoryGiB"`
	Database  string             `json:"database"`
	PoolMiB   int                `json:"bufferPoolMiB"`
	Go        string             `json:"go"`
	Rounds    int                `json:"rounds"`
	Quick     bool               `json:"quick,omitempty"`
	TablesGiB map[string]float64 `json:"tablesGiB,omitempty"`
	Seconds   float64            `json:"seconds"`
	Figures   []*figure          `json:"figures"`
	Lost      int64              `json:"lost"`
	Doubled   int64              `json:"doubled"`
	Early     int64              `json:"early"`
	Disk      testkit.Disk       `json:"disk"`
	Notes     []string           `json:"notes,omitempty"`

	columns []string
}

// figure is one thing, by column.
type figure struct {
	Part   string               `json:"part"`
	Name   string               `json:"name"`
	Unit   string               `json:"unit"`
	Values map[string][]float64 `json:"values"`
	Median map[string]float64   `json:"median"`
	Most   map[string]float64   `json:"most"`
	Ratio  map[string]float64   `json:"ratio,omitempty"` // of the medians, to the first column's

	r *report
}

func newReport(ctx context.Context, k *kit, disk testkit.Disk) (*report, error) {
	text, err := k.servers.MariaDB.Query(ctx, "SELECT CONCAT(CURRENT_DATE,' ',VERSION())")
	if err != nil {
		return nil, err
	}
	date, version, _ := strings.Cut(text, " ")
	r := &report{Date: date, Database: version, CPUs: runtime.NumCPU(), Go: runtime.Version(), Rounds: k.o.rounds, Quick: k.o.quick, Disk: disk, PoolMiB: k.o.poolMiB}
	r.Machine, r.MemoryGiB = machine()
	return r, nil
}

// machine reads what Linux says of it; elsewhere nothing is known.
func machine() (model string, gib float64) {
	cpu, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(cpu)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	memory, _ := os.ReadFile("/proc/meminfo")
	var kib float64
	if _, err := fmt.Sscanf(string(memory), "MemTotal: %f", &kib); err != nil {
		return model, 0
	}
	return model, kib / (1 << 20)
}

func (r *report) figure(part, name, unit string) *figure {
	for _, f := range r.Figures {
		if f.Part == part && f.Name == name {
			return f
		}
	}
	f := &figure{Part: part, Name: name, Unit: unit, Values: map[string][]float64{}, r: r}
	r.Figures = append(r.Figures, f)
	return f
}

func (f *figure) add(column string, values ...float64) {
	if !slices.Contains(f.r.columns, column) {
		f.r.columns = append(f.r.columns, column)
	}
	f.Values[column] = append(f.Values[column], values...)
}

// note says something of a round that its figures do not.
func (r *report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func (r *report) fate(column string, b *bench.Report) {
	r.Lost, r.Doubled, r.Early = r.Lost+b.Lost, r.Doubled+b.Doubled, r.Early+b.Early
}

// finish computes medians and ratios.
func (r *report) finish(took time.Duration) {
	r.Seconds = took.Seconds()
	for _, f := range r.Figures {
		f.Median, f.Most, f.Ratio = map[string]float64{}, map[string]float64{}, map[string]float64{}
		for column, values := range f.Values {
			sorted := slices.Sorted(slices.Values(values))
			if len(sorted) == 0 {
				continue
			}
			n := len(sorted)
			f.Median[column], f.Most[column] = (sorted[(n-1)/2]+sorted[n/2])/2, sorted[n-1]
		}
		if base := f.Median[r.columns[0]]; base != 0 {
			for column, v := range f.Median {
				if column != r.columns[0] {
					f.Ratio[column] = v / base
				}
			}
		}
	}
}

// goal is the least ratio of throughput with ten million finished tasks to that with none.
const goal = 0.9

// goalFigures are the throughputs that the goal speaks of.
func goalFigure(f *figure) bool {
	return f.Part == "speed" && f.Unit == "tasks/s" && (f.Name == "drain" || strings.HasPrefix(f.Name, "steady"))
}

// sections are the tables of the report.
var sections = []struct{ part, title, text string }{
	{"speed", "Speed", "Medians of the rounds, the columns in turns. In brackets: the ratio to the first column."},
	{"lists", "Lists and statistics", "Over HTTP, one request at a time; each page asked for in turns of the columns: the median, and behind the bar the slowest, which is mostly the first: it reads from disk."},
	{"memory", "Memory of processes with nothing to do", "Ten seconds after their start."},
	{"downtime", "After a downtime", "Tasks of one queue that became due in one instant while nothing ran; then api, scheduler and worker start at once. The processes' memory is the most seen."},
}

func (r *report) markdown() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Growth\n\nWritten by `make growth` on %s: %s, %d CPUs, %.0f GiB, %s; MariaDB %s at default durability, buffer pool %d MiB; %s; %d rounds; %.0f minutes with the fill.\n\n",
		r.Date, r.Machine, r.CPUs, r.MemoryGiB, r.Disk, r.Database, r.PoolMiB, r.Go, r.Rounds, r.Seconds/60)
	if r.Quick {
		b.WriteString("Measured with `-quick`: rough figures.\n\n")
	}
	b.WriteString("The columns are databases of one server, by their finished tasks. Everything shares the machine's CPUs.\n")
	for _, s := range sections {
		r.section(&b, s.part, s.title, s.text)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "\n%s\n", note)
	}
	fmt.Fprintf(&b, "\nAccepted tasks lost: %d. Runs beyond a task's first: %d. Started early: %d.\n", r.Lost, r.Doubled, r.Early)
	return b.Bytes()
}

func (r *report) section(b *bytes.Buffer, part, title, text string) {
	var figures []*figure
	var columns []string
	for _, column := range r.columns {
		if slices.ContainsFunc(r.Figures, func(f *figure) bool { return f.Part == part && len(f.Values[column]) > 0 }) {
			columns = append(columns, column)
		}
	}
	for _, f := range r.Figures {
		if f.Part == part {
			figures = append(figures, f)
		}
	}
	if len(figures) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n| What | %s |", title, text, strings.Join(columns, " | "))
	if part == "speed" {
		b.WriteString(" Goal |")
	}
	fmt.Fprintf(b, "\n|---|%s", strings.Repeat("---:|", len(columns)))
	if part == "speed" {
		b.WriteString("---|")
	}
	b.WriteString("\n")
	for _, f := range figures {
		fmt.Fprintf(b, "| %s, %s |", f.Name, f.Unit)
		for _, column := range columns {
			b.WriteString(" " + f.cell(column) + " |")
		}
		if part == "speed" {
			b.WriteString(" " + r.verdict(f) + " |")
		}
		b.WriteString("\n")
	}
}

func (f *figure) cell(column string) string {
	if len(f.Values[column]) == 0 {
		return ""
	}
	text := bench.Number(f.Median[column])
	if f.Part == "lists" {
		return text + " \\| " + bench.Number(f.Most[column])
	}
	if ratio, ok := f.Ratio[column]; ok && f.Part == "speed" && f.Name != presentFigure {
		text += fmt.Sprintf(" (%.2f)", ratio)
	}
	return text
}

// verdict says whether the largest database is fast enough.
func (r *report) verdict(f *figure) string {
	if !goalFigure(f) {
		return ""
	}
	for _, column := range r.columns {
		if ratio, ok := f.Ratio[column]; ok && column == r.largest() {
			return fmt.Sprintf("≥ %.1f with %s: %s", goal, column, map[bool]string{true: "yes", false: "no"}[ratio >= goal])
		}
	}
	return ""
}

// largest is the column of the largest database without a purge.
func (r *report) largest() string {
	for _, column := range r.columns {
		if slices.Contains(r.columns, column+", purge running") {
			return column
		}
	}
	return ""
}

func (r *report) print(w io.Writer) error {
	_, err := w.Write(r.markdown())
	return err
}

// keep writes what was measured to a temporary file, since it is not published.
func (r *report) keep() error {
	f, err := os.CreateTemp("", "growth-not-written-*.md")
	if err != nil {
		return fmt.Errorf("keep what was measured: %w", err)
	}
	_, err = f.Write(r.markdown())
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("keep what was measured: %w", err)
	}
	return fmt.Errorf("docs/benchmarks is as it was: what was measured is in %s", f.Name())
}

// save writes the report's files.
func (r *report) save() error {
	root, err := testkit.Root()
	if err != nil {
		return err
	}
	raw, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	dir := filepath.Join(root, "docs", "benchmarks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	for name, text := range map[string][]byte{"growth.md": r.markdown(), "growth.json": append(raw, '\n')} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	return nil
}
