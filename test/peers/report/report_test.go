package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/test/peers/measure"
	"github.com/taskweir/taskweir/test/peers/system"
)

// two is a report of Taskweir, a durable peer, one that is not, stock settings and a transport.
func two(t *testing.T) *Report {
	t.Helper()
	r := New(3, measure.Full())
	for _, s := range []struct {
		adapter system.Adapter
		drain   []float64
		p99     float64
	}{
		{system.Adapter{Name: "taskweir", Title: "Taskweir, MariaDB", Durable: "synced"}, []float64{40_000, 30_000, 35_000}, 4},
		{system.Adapter{Name: "river", Title: "River, PostgreSQL", Durable: "synced"}, []float64{10_000, 9_000, 11_000}, 12},
		{system.Adapter{Name: "asynq-mem", Title: "asynq, memory"}, []float64{15_000, 10_000, 12_000}, 1},
		{system.Adapter{Name: "river-stock", Title: "River, default settings", Durable: "synced", Tuned: "river"}, []float64{99_000, 99_000, 99_000}, 0.1},
		{system.Adapter{Name: "nsq", Title: "bare NSQ", Transport: true}, []float64{100_000, 100_000, 100_000}, 0.2},
	} {
		sys := NewSystem(s.adapter)
		for _, v := range s.drain {
			sys.Add(&measure.Result{Figures: []measure.Figure{
				{Name: measure.Drain, Unit: "tasks/s", Value: v}, {Name: measure.DrainCPU, Unit: "ms", Value: 1000 * 1000 / v},
				{Name: measure.Pickup + ", p50", Unit: "ms", Value: s.p99 / 2}, {Name: measure.Pickup + ", p99", Unit: "ms", Value: s.p99},
				{Name: measure.SteadyHTTP, Unit: "tasks/s", None: true},
			}, Fates: []measure.Fate{{Measure: measure.Drain, Submitted: 50_000}}})
		}
		r.Systems = append(r.Systems, sys)
	}
	r.Finish(time.Minute)
	return r
}

func goalOf(t *testing.T, r *Report, what, goal string) Goal {
	t.Helper()
	for _, g := range r.Goals {
		if g.What == what && g.Goal == goal {
			return g
		}
	}
	t.Fatalf("no goal %q %q", what, goal)
	return Goal{}
}

func TestGoalsAreJudgedAgainstTheBestPeer(t *testing.T) {
	r := two(t)
	// 35,000 against asynq's 12,000: neither stock settings nor the transport are peers.
	if g := goalOf(t, r, "drain of 50,000 no-op tasks", "≥ 3 ×"); g.Reached || g.Got != "2.92 ×" || !strings.Contains(g.Against, "asynq") {
		t.Errorf("%+v", g)
	}
	if g := goalOf(t, r, "CPU seconds of all processes per 1,000 drained", "≤ 0.4 ×"); !g.Reached || g.Got != "0.34 ×" {
		t.Errorf("%+v", g)
	}
	// Against durable peers only.
	if g := goalOf(t, r, "submit → start at 200/s, p99", "≤ 1 ×"); !g.Reached || g.Got != "0.33 ×" {
		t.Errorf("%+v", g)
	}
	if g := goalOf(t, r, "HTTP callbacks", "≥ 2 ×"); !g.Unknown || g.Reached {
		t.Errorf("what was not measured is not reached: %+v", g)
	}
}

func TestRatiosStandBesideThoseOfEachRound(t *testing.T) {
	r := two(t)
	// 40/15, 30/10 and 35/12.
	if g := goalOf(t, r, "drain of 50,000 no-op tasks", "≥ 3 ×"); g.ByRound != "2.67 … 3.00" {
		t.Errorf("%+v", g)
	}
	if got := byRound([]float64{1, 2}, []float64{1}); got != "" {
		t.Errorf("rounds that do not belong together give %q", got)
	}
}

func TestCallbacksAreHeldAgainstTheFasterYardstick(t *testing.T) {
	r := two(t)
	r.System("taskweir").Add(&measure.Result{Figures: []measure.Figure{{Name: measure.BareHTTP, Value: 4000}, {Name: measure.BareHTTPFew, Value: 10_000}, {Name: measure.Callbacks, Value: 5000}}})
	r.Finish(time.Minute)
	if g := goalOf(t, r, "HTTP callbacks", "≥ 0.6 ×"); g.Reached || g.Got != "0.50 ×" || g.Against != measure.BareHTTPFew+": 10,000" {
		t.Errorf("%+v", g)
	}
}

func TestCallbacksShortOfTheGoalSayWhyAndWhoKeepsARecord(t *testing.T) {
	r := two(t)
	r.Machine.Cores = 2
	add := func(name string, figures ...measure.Figure) { r.System(name).Add(&measure.Result{Figures: figures}) }
	add("taskweir", measure.Figure{Name: measure.BareHTTP, Value: 40_000}, measure.Figure{Name: measure.Callbacks, Value: 20_000})
	add("river", measure.Figure{Name: measure.Callbacks, Value: 9_000})
	add("asynq-mem", measure.Figure{Name: measure.Callbacks, Value: 18_000})
	r.System("asynq-mem").Unrecorded = true
	r.Finish(time.Minute)
	if g := goalOf(t, r, "HTTP callbacks", "≥ 2 ×"); g.Reached || !strings.Contains(g.Reason, "would be 0.90 × of the bare POSTs, leaves 55.6 µs of the processors for a callback; a bare POST takes 50.0 µs, Taskweir's callback with its record in the database 100 µs") {
		t.Errorf("%+v", g)
	}
	if g := goalOf(t, r, "HTTP callbacks, of peers that keep a record of a task", "≥ 2 ×"); !g.Reached || g.Got != "2.22 ×" || !strings.Contains(g.Against, "River") || g.Reason != "" {
		t.Errorf("%+v", g)
	}
	// 2 processors: 50 µs a bare exchange, 100 µs a callback; 0.6 of 40,000 is 83.3 µs each.
	if g := goalOf(t, r, "HTTP callbacks", "≥ 0.6 ×"); g.Reached || !strings.Contains(g.Reason, "takes 50.0 µs of them; a callback with announcing, claiming and committing a task and its answer takes 100 µs, the goal leaves 83.3 µs") {
		t.Errorf("%+v", g)
	}
	var b bytes.Buffer
	if err := r.Markdown(&b); err != nil || !strings.Contains(b.String(), "Why HTTP callbacks stays below ≥ 0.6 ×: with all") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func TestOurDefaultSettingsAreNoPeerAndStandInTheREADME(t *testing.T) {
	r := two(t)
	stock := NewSystem(system.Adapter{Name: "taskweir-stock", Title: "Taskweir, MariaDB, default settings", Durable: "synced", Tuned: "taskweir"})
	stock.Add(&measure.Result{Figures: []measure.Figure{{Name: measure.Drain, Unit: "tasks/s", Value: 70_000}, {Name: measure.Callbacks, Unit: "tasks/s", Value: 17_000}}})
	r.Systems = append(r.Systems, stock)
	r.Finish(time.Minute)
	if g := goalOf(t, r, "drain of 50,000 no-op tasks", "≥ 3 ×"); g.Got != "2.92 ×" {
		t.Errorf("%+v", g)
	}
	if text := r.README(); !strings.Contains(text, "it drains 70,000 tasks/s and makes 17,000 callbacks/s") {
		t.Errorf("README:\n%s", text)
	}
	var b bytes.Buffer
	if err := r.Markdown(&b); err != nil || !strings.Contains(b.String(), "| drain, tasks/s | 99,000 | 70,000 |") {
		t.Errorf("%v\n%s", err, b.String())
	}
	stock.Fates = []measure.Fate{{Measure: measure.Drain, Lost: 1}}
	if err := r.Broken(); !errors.Is(err, errBroken) {
		t.Errorf("a loss with default settings: %v", err)
	}
}

func TestWhatCannotBeJudgedIsSaidInWords(t *testing.T) {
	r := two(t)
	r.System("river").Add(&measure.Result{Figures: []measure.Figure{{Name: measure.InstantBulk + measure.P99Late, Unit: "ms", Value: -3}}})
	r.System("taskweir").Add(&measure.Result{Figures: []measure.Figure{{Name: measure.InstantBulk + measure.P99Late, Unit: "ms", Value: 5}}})
	r.System("taskweir").Figure(measure.Drain).None = true
	r.Finish(time.Minute)
	var b bytes.Buffer
	if err := r.Markdown(&b); err != nil || strings.Contains(b.String(), "NaN") {
		t.Errorf("%v\n%s", err, b.String())
	}
	if g := goalOf(t, r, measure.InstantBulk+": p99 late", "≤ 0.5 ×"); !g.Unknown || g.Reached {
		t.Errorf("a multiple of less than nothing: %+v", g)
	}
}

func TestWhereAMeasureGaveUpTheValueIsALeastOne(t *testing.T) {
	r := two(t)
	name := measure.InstantSingle + measure.LastLate
	r.System("river").Add(&measure.Result{Figures: []measure.Figure{{Name: name, Unit: "ms", Value: 10_000}}, Fates: []measure.Fate{{Measure: measure.InstantSingle, Submitted: 100, Late: 7}}})
	r.Finish(time.Minute)
	if text := r.README(); !strings.Contains(text, "| ≥ 10,000 |") || !strings.Contains(text, "| tasks lost, never started or doubled | 0 | 7 |") {
		t.Errorf("README:\n%s", text)
	}
	var b bytes.Buffer
	if err := r.Markdown(&b); err != nil || !strings.Contains(b.String(), "| ≥ 10,000 ms | (n = 1) |") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func TestMediansAndFatesAreOfAllRounds(t *testing.T) {
	s := two(t).System("taskweir")
	if f := s.Figure(measure.Drain); f.Median != 35_000 || f.Min != 30_000 || f.Max != 40_000 {
		t.Errorf("%+v", f)
	}
	if got := s.total(); got.Submitted != 150_000 {
		t.Errorf("%+v", got)
	}
	if f := s.Figure(measure.SteadyHTTP); !f.None {
		t.Errorf("%+v", f)
	}
}

func TestBrokenPromisesOfOursAreErrors(t *testing.T) {
	r := two(t)
	r.System("asynq-mem").Fates[0].Lost = 5
	if err := r.Broken(); err != nil {
		t.Errorf("a peer's loss is reported, not an error: %v", err)
	}
	r.System("taskweir").Fates[0].Doubled = 1
	if err := r.Broken(); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
	r = two(t)
	r.System("river").Errors = []string{"did not open"}
	if err := r.Broken(); err == nil || !strings.Contains(err.Error(), "did not open") {
		t.Errorf("got %v", err)
	}
}

func TestFilesAreWrittenAndMadeAgainFromTheJSON(t *testing.T) {
	root := t.TempDir()
	readme := filepath.Join(root, "README.md")
	if err := os.WriteFile(readme, []byte("before\n"+beginMark+"\nold\n"+endMark+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := two(t)
	if err := r.Write(root); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	if !strings.HasPrefix(got, "before\n"+beginMark) || !strings.HasSuffix(got, endMark+"\nafter\n") || strings.Contains(got, "old") || !strings.Contains(got, "| drain of 50,000, tasks/s | 35,000<br>30,000 … 40,000 | 10,000<br>9,000 … 11,000 |") {
		t.Errorf("README:\n%s", got)
	}
	md, err := os.ReadFile(filepath.Join(root, "docs", "benchmarks", "peers.md"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := Read(filepath.Join(root, "docs", "benchmarks", "peers.json"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if again.anew == "" {
		t.Error("a report that was judged anew does not say so")
	}
	again.anew = ""
	if err := again.Markdown(&b); err != nil || b.String() != string(md) {
		t.Errorf("the text made from the JSON differs (%v):\n%s\n%s", err, b.String(), md)
	}
	svg, err := os.Open(filepath.Join(root, "docs", "benchmarks", "peers.svg"))
	if err != nil {
		t.Fatal(err)
	}
	defer svg.Close()
	for d := xml.NewDecoder(svg); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the chart is no XML: %v", err)
		}
	}
}

func TestAREADMEWithoutMarkersIsLeftAlone(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "README.md"), []byte("words\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := two(t).Write(root); !errors.Is(err, errNoMarks) {
		t.Errorf("got %v", err)
	}
}
