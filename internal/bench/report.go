package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
)

// Report is everything that a run measured, in the order of measuring.
type Report struct {
	System  string    `json:"system"`
	CPUs    int       `json:"cpus"`
	Go      string    `json:"go"`
	Rounds  int       `json:"rounds"`
	Figures []*Figure `json:"figures"`
	Lost    int64     `json:"lost"`    // accepted tasks that did not come to an end
	Doubled int64     `json:"doubled"` // runs beyond the first of a task
	Early   int64     `json:"early"`   // starts before the due time

	sqlite              bool
	instant             int
	schedules, sleeping int
	byName              map[string]*Figure
}

// Figure is one thing measured once a round.
type Figure struct {
	Name    string    `json:"name"`
	Unit    string    `json:"unit"`
	Values  []float64 `json:"values"`
	Median  float64   `json:"median"`
	Min     float64   `json:"min"`
	Max     float64   `json:"max"`
	Tasks   int64     `json:"tasks,omitempty"` // of which it is known what became of them
	Lost    int64     `json:"lost"`
	Doubled int64     `json:"doubled"`
	Early   int64     `json:"early"`
	Ratio   float64   `json:"ratio,omitempty"` // to the yardstick of the goal
	Goal    string    `json:"goal,omitempty"`
	Met     *bool     `json:"met,omitempty"`
}

// The figures that goals speak of.
const (
	drainFigure      = "drain"
	steadyHTTPFigure = "steady, HTTP, 256 clients"
	steadyFigure     = "steady, in process, 2 callers, batches of 500"
	callbackFigure   = "HTTP callbacks"
	instantBatches   = "instant, submitted by batches"
	instantSingly    = "instant, submitted singly"
	fairFigure       = "10 tasks of B meet A's backlog on 8 slots"
)

func newReport(sys System, o Options) *Report {
	return &Report{System: sys.Name(), CPUs: runtime.NumCPU(), Go: runtime.Version(), Rounds: o.Rounds,
		sqlite: sys.SQLite(), instant: o.Instant, schedules: o.Schedules, sleeping: o.Sleeping, byName: map[string]*Figure{}}
}

// insertYard is the name of I or S.
func (r *Report) insertYard() string {
	if r.sqlite {
		return "S: plain INSERTs, 500 rows"
	}
	return "I: plain INSERTs, 500 rows, 2 connections"
}

// bareYard is the name of H.
func bareYard(clients int) string { return fmt.Sprintf("H: bare HTTP POSTs, %d clients", clients) }

// figure gives the figure of that name, making it at first use.
func (r *Report) figure(name, unit string) *Figure {
	if f, ok := r.byName[name]; ok {
		return f
	}
	f := &Figure{Name: name, Unit: unit}
	r.byName[name] = f
	r.Figures = append(r.Figures, f)
	return f
}

func (f *Figure) add(v float64) { f.Values = append(f.Values, v) }

// quantiles adds p50, p95, p99 of one round.
func (r *Report) quantiles(name string, values []float64) {
	slices.Sort(values)
	for _, q := range []struct {
		name string
		q    float64
	}{{"p50", 0.50}, {"p95", 0.95}, {"p99", 0.99}} {
		r.figure(name+", "+q.name, "ms").add(quantile(values, q.q))
	}
}

// fate adds what became of tasks to the whole and, when f is not nil, to the figure.
func (r *Report) fate(f *Figure, s span, got fate) {
	lost := s.n - got.final
	r.Lost, r.Doubled, r.Early = r.Lost+lost, r.Doubled+got.doubled, r.Early+got.early
	if f != nil {
		f.Tasks, f.Lost, f.Doubled, f.Early = f.Tasks+s.n, f.Lost+lost, f.Doubled+got.doubled, f.Early+got.early
	}
}

// finish computes medians, ratios and goals.
func (r *Report) finish() {
	for _, f := range r.Figures {
		sorted := slices.Sorted(slices.Values(f.Values))
		if len(sorted) == 0 {
			continue
		}
		f.Min, f.Max, f.Median = sorted[0], sorted[len(sorted)-1], sorted[len(sorted)/2]
		if len(sorted)%2 == 0 {
			f.Median = (sorted[len(sorted)/2-1] + sorted[len(sorted)/2]) / 2
		}
	}
	for _, g := range r.goals() {
		if f, ok := r.byName[g.figure]; ok && len(f.Values) > 0 {
			g.judge(r, f)
		}
	}
}

// Markdown writes the report as a table.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n%d CPUs, %s, medians of %d. Clients, receiver and Taskweir share the CPUs. Lost: accepted and not brought to an end. Doubled: runs beyond a task's first.\n\n", r.System, r.CPUs, r.Go, r.Rounds)
	b.WriteString("| What | Median | Min … max | Goal | Ratio | Met | Lost | Doubled |\n|---|---:|---|---|---:|---|---:|---:|\n")
	for _, f := range r.Figures {
		lost, doubled, ratio, met := "", "", "", ""
		if f.Tasks > 0 {
			lost, doubled = fmt.Sprintf("%d of %d", f.Lost, f.Tasks), fmt.Sprint(f.Doubled)
		}
		if f.Ratio != 0 {
			ratio = fmt.Sprintf("%.2f", f.Ratio)
		}
		if f.Met != nil {
			met = map[bool]string{true: "yes", false: "no"}[*f.Met]
		}
		fmt.Fprintf(&b, "| %s | %s %s | %s … %s | %s | %s | %s | %s | %s |\n", f.Name, Number(f.Median), f.Unit, Number(f.Min), Number(f.Max), f.Goal, ratio, met, lost, doubled)
	}
	fmt.Fprintf(&b, "\nAccepted tasks lost: %d. Runs beyond a task's first: %d. Started early: %d.\n", r.Lost, r.Doubled, r.Early)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// JSON writes the report as one object.
func (r *Report) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
