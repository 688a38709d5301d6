package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/bench"
	"github.com/taskweir/taskweir/test/peers/measure"
)

// Markdown writes everything for people: goals, the systems side by side, stock settings, and each system in full.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	r.head(&b)
	r.goals(&b)
	b.WriteString("## Side by side\n\nMedians of the rounds; least and greatest value below each system. \"none\": the system has no such thing. " +
		"\"≥\": the measure gave up waiting. Nothing works while submitting is measured; Taskweir's queue is paused for that, so that it publishes nothing to nsqd " +
		"meanwhile, which steady work includes. Memory is measured once; that of a database counts its shared buffers, as far as they are filled.\n\n")
	r.table(&b, r.tuned(), r.rows())
	if stock := r.stock(); len(stock) > 0 {
		b.WriteString("\n## With the systems' default settings\n\nThe columns above are tuned. These are the same systems as they come, in what those settings change " +
			"of latencies. Throughput with default settings is measured of Taskweir only, and GOGC=300 is set here too.\n\n")
		r.table(&b, stock, append(throughputRows(), latencyRows()...))
	}
	for _, s := range r.Systems {
		s.details(&b, r)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func (r *Report) head(b *strings.Builder) {
	fmt.Fprintf(b, "# Taskweir beside its peers\n\n%s, %s. %s, Taskweir %s. %s of %d rounds, interleaved over the systems, in one run of %s. "+
		"Producer, worker, callback receiver and all servers share the processors.\n\n", r.Date, r.Machine, r.Go, r.Commit, r.middle(), r.Rounds,
		(time.Duration(r.Seconds) * time.Second).String())
	if r.anew != "" {
		fmt.Fprintf(b, "Written and judged anew from the figures of that run by Taskweir %s; nothing was measured for it.\n\n", r.anew)
	}
	b.WriteString("![Drain, steady work, callbacks and time to the start of all systems](peers.svg)\n\n")
	if r.Sizes != measure.Full() {
		b.WriteString("**Not the sizes of a full run: the names of the figures speak of those, and the figures mean little.**\n\n")
	}
}

func (r *Report) goals(b *strings.Builder) {
	if len(r.Goals) == 0 {
		return
	}
	b.WriteString("## Goals\n\nOf Taskweir on MariaDB, nsqd and Redis. Peers are task queues; bare NSQ is a transport and no peer. " +
		"The best peer is the best by any of the ways in which a figure was measured. How soon a dead worker's tasks run elsewhere, speed with " +
		"ten million finished tasks present and what idling costs are measured by other commands, see [README.md](README.md).\n\n| What | Goal | Measured | By round | Against | Reached |\n|---|---|---:|---|---|---|\n")
	for _, g := range r.Goals {
		reached := "**no**"
		switch {
		case g.Unknown:
			reached = "not measured"
		case g.Reached:
			reached = "yes"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", g.What, g.Goal, g.Got, g.ByRound, g.Against, reached)
	}
	b.WriteString("\n")
	for _, g := range r.Goals {
		if g.Reason != "" {
			fmt.Fprintf(b, "Why %s stays below %s: %s.\n\n", g.What, g.Goal, g.Reason)
		}
	}
}

func (r *Report) tuned() []*System {
	return slices.DeleteFunc(slices.Clone(r.Systems), func(s *System) bool { return s.Tuned != "" })
}

func (r *Report) stock() []*System {
	return slices.DeleteFunc(slices.Clone(r.Systems), func(s *System) bool { return s.Tuned == "" })
}

// rows are the figures that stand side by side: those that more than one kind of process has.
func (r *Report) rows() []string {
	var names []string
	for _, s := range r.tuned() {
		for _, f := range s.Figures {
			perProcess := strings.HasPrefix(f.Name, measure.DrainCPU+": ") || strings.HasPrefix(f.Name, measure.Memory+": ") && f.Name != measure.Memory+measure.MemoryGrown
			if !perProcess && !slices.Contains(names, f.Name) {
				names = append(names, f.Name)
			}
		}
	}
	return names
}

func throughputRows() []string {
	return []string{measure.Drain, measure.DrainCPU, measure.Steady32, measure.Steady256, measure.SteadyBulk, measure.Callbacks}
}

func latencyRows() []string {
	rows := []string{measure.Pickup + ", p50", measure.Pickup + ", p95", measure.Pickup + ", p99"}
	for _, way := range []string{measure.InstantBulk, measure.InstantSingle} {
		rows = append(rows, way+measure.FirstLate, way+measure.P99Late, way+measure.LastLate)
	}
	return append(rows, measure.Spread+", p50", measure.Spread+", p99")
}

// table has a column for each system.
func (r *Report) table(b *strings.Builder, systems []*System, rows []string) {
	b.WriteString("| |")
	for _, s := range systems {
		fmt.Fprintf(b, " %s |", shortName(s))
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(systems)) + "\n")
	for _, name := range rows {
		cells, unit, some := "", "", false
		for _, s := range systems {
			f := s.Figure(name)
			if f != nil {
				unit, some = f.Unit, some || !f.None
			}
			cells += " " + r.cell(f) + " |"
		}
		if some {
			fmt.Fprintf(b, "| %s, %s |%s\n", name, unit, cells)
		}
	}
	fmt.Fprintf(b, "| lost, doubled, early, late tasks of all |")
	for _, s := range systems {
		fmt.Fprintf(b, " %s |", fateCell(s.total()))
	}
	b.WriteString("\n")
}

// middle is what Figure.Median is of so many rounds.
func (r *Report) middle() string {
	if r.Rounds == 2 {
		return "Means"
	}
	return "Medians"
}

func (r *Report) cell(f *Figure) string {
	switch {
	case f == nil:
		return ""
	case f.None:
		return "none"
	}
	return r.value(f, f.Median)
}

// value marks one at which the measure gave up waiting.
func (r *Report) value(f *Figure, v float64) string {
	limit, waits := r.Sizes.Late, false
	for _, name := range []string{measure.InstantBulk, measure.InstantSingle, measure.Spread, measure.Cancel} {
		waits = waits || f.Unit == "ms" && strings.HasPrefix(f.Name, name)
	}
	if strings.HasPrefix(f.Name, measure.Cancel) {
		limit = r.Sizes.Patience
	}
	if waits && limit > 0 && v >= float64(limit)/float64(time.Millisecond) {
		return "≥ " + bench.Number(v)
	}
	return bench.Number(v)
}

// spread is the least and the greatest value, where there is more than one.
func (r *Report) spread(f *Figure) string {
	if f == nil || f.None || len(f.Values) < 2 {
		return ""
	}
	return r.value(f, f.Min) + " … " + r.value(f, f.Max)
}

// fateCell shows only what is not zero.
func fateCell(t measure.Fate) string {
	var parts []string
	for _, p := range []struct {
		name string
		n    int64
	}{{"lost", t.Lost}, {"doubled", t.Doubled}, {"early", t.Early}, {"late", t.Late}, {"not cancelled", t.Deaf}} {
		if p.n > 0 {
			parts = append(parts, bench.Grouped(p.n)+" "+p.name)
		}
	}
	if len(parts) == 0 {
		return "0 of " + bench.Grouped(t.Submitted)
	}
	return strings.Join(parts, ", ") + " of " + bench.Grouped(t.Submitted)
}

// details is everything about one system.
func (s *System) details(b *strings.Builder, r *Report) {
	fmt.Fprintf(b, "\n## %s\n\nDurable: %s.\n", s.Title, cmp.Or(s.Durable, "nothing"))
	for _, list := range []map[string]string{s.Versions, s.Modules} {
		for _, name := range slices.Sorted(maps.Keys(list)) {
			fmt.Fprintf(b, "\n- %s %s", name, list[name])
		}
	}
	for _, setting := range s.Settings {
		fmt.Fprintf(b, "\n- %s: %s", setting.Name, setting.Value)
	}
	b.WriteString("\n\n| What | " + strings.TrimSuffix(r.middle(), "s") + " | Least … greatest |\n|---|---:|---|\n")
	for _, f := range s.Figures {
		if f.None {
			fmt.Fprintf(b, "| %s | none | |\n", f.Name)
			continue
		}
		rounds := r.spread(f)
		if n := len(f.Values); n != r.Rounds {
			rounds = strings.TrimSpace(fmt.Sprintf("%s (n = %d)", rounds, n))
		}
		fmt.Fprintf(b, "| %s | %s %s | %s |\n", f.Name, r.cell(f), f.Unit, rounds)
	}
	b.WriteString("\n| Tasks of | Submitted | Lost | Doubled | Early | Late | Not cancelled |\n|---|---:|---:|---:|---:|---:|---:|\n")
	for _, f := range s.Fates {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s |\n", f.Measure, bench.Grouped(f.Submitted), bench.Grouped(f.Lost), bench.Grouped(f.Doubled), bench.Grouped(f.Early), bench.Grouped(f.Late), bench.Grouped(f.Deaf))
	}
	for _, e := range s.Errors {
		fmt.Fprintf(b, "\nA round failed: %s\n", e)
	}
}
