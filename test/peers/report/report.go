package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/taskweir/taskweir/test/peers/measure"
	"github.com/taskweir/taskweir/test/peers/system"
)

// Report is one run of all systems.
type Report struct {
	Date    string          `json:"date"` // YYYY-MM-DD
	Machine Machine         `json:"machine"`
	Go      string          `json:"go"`
	Commit  string          `json:"commit"`
	Rounds  int             `json:"rounds"`
	Sizes   measure.Options `json:"sizes"`
	Seconds int             `json:"seconds"` // the whole run
	Systems []*System       `json:"systems"`
	Goals   []Goal          `json:"goals"`

	anew string // what judged it, when that was not the run itself
}

// System is everything that was measured of one system.
type System struct {
	Name      string `json:"name"`
	Title     string `json:"title"`
	Durable   string `json:"durable"`
	Tuned     string `json:"tuned,omitempty"` // it shows the stock settings of this one
	Transport bool   `json:"transport,omitempty"`
	// Unrecorded: nothing can be asked about its tasks.
	Unrecorded bool              `json:"unrecorded,omitempty"`
	Settings   []system.Setting  `json:"settings"`
	Modules    map[string]string `json:"modules"`  // versions of libraries
	Versions   map[string]string `json:"versions"` // versions of servers
	Figures    []*Figure         `json:"figures"`
	Fates      []measure.Fate    `json:"fates"` // of each measure, all rounds together
	Errors     []string          `json:"errors,omitempty"`
}

// Figure is one thing measured once a round.
type Figure struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit"`
	None   bool      `json:"none,omitempty"`
	Values []float64 `json:"values,omitempty"`
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
}

// New is a report without anything in it.
func New(rounds int, sizes measure.Options) *Report {
	return &Report{Date: time.Now().UTC().Format(time.DateOnly), Machine: thisMachine(), Go: runtime.Version(), Commit: commit(), Rounds: rounds, Sizes: sizes}
}

// NewSystem is a system of which nothing was measured yet.
func NewSystem(a system.Adapter) *System {
	return &System{Name: a.Name, Title: a.Title, Durable: a.Durable, Tuned: a.Tuned, Transport: a.Transport, Unrecorded: a.Unrecorded, Settings: a.Settings}
}

// Add takes a round in.
func (s *System) Add(r *measure.Result) {
	s.Modules = r.Modules
	for _, got := range r.Figures {
		f := s.Figure(got.Name)
		if f == nil {
			f = &Figure{Name: got.Name, Unit: got.Unit, None: got.None}
			s.Figures = append(s.Figures, f)
		}
		if !got.None {
			f.None = false
			f.Values = append(f.Values, got.Value)
		}
	}
	for _, got := range r.Fates {
		i := slices.IndexFunc(s.Fates, func(f measure.Fate) bool { return f.Measure == got.Measure })
		if i < 0 {
			s.Fates = append(s.Fates, got)
			continue
		}
		s.Fates[i] = s.Fates[i].Plus(got)
	}
}

// Servers are the versions of its servers in one line.
func (s *System) Servers() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(s.Versions)) {
		all = append(all, name+" "+s.Versions[name])
	}
	if all == nil {
		return "no servers"
	}
	return strings.Join(all, ", ")
}

// Figure gives the figure of that name; nil when there is none.
func (s *System) Figure(name string) *Figure {
	for _, f := range s.Figures {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// median gives a figure's median, when the system has one.
func (s *System) median(name string) (float64, bool) {
	f := s.Figure(name)
	if f == nil || f.None || len(f.Values) == 0 {
		return 0, false
	}
	return f.Median, true
}

// total adds up what became of all tasks of the system.
func (s *System) total() measure.Fate {
	var all measure.Fate
	for _, f := range s.Fates {
		all = all.Plus(f)
	}
	return all
}

// System gives the system of that name; nil when it was not measured.
func (r *Report) System(name string) *System {
	for _, s := range r.Systems {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Finish computes medians and judges the goals.
func (r *Report) Finish(took time.Duration) {
	r.Seconds = int(took.Seconds())
	for _, s := range r.Systems {
		for _, f := range s.Figures {
			f.finish()
		}
	}
	r.Goals = r.judge()
}

func (f *Figure) finish() {
	sorted := slices.Sorted(slices.Values(f.Values))
	if len(sorted) == 0 {
		return
	}
	f.Min, f.Max, f.Median = sorted[0], sorted[len(sorted)-1], sorted[len(sorted)/2]
	if len(sorted)%2 == 0 {
		f.Median = (sorted[len(sorted)/2-1] + sorted[len(sorted)/2]) / 2
	}
}

var errBroken = errors.New("broke a promise")

// Broken is an error when a system of ours lost or doubled tasks or started some early, or when a round failed.
func (r *Report) Broken() error {
	var errs []error
	for _, s := range r.Systems {
		for _, text := range s.Errors {
			errs = append(errs, fmt.Errorf("%s: %s", s.Name, text))
		}
		if !s.ours() {
			continue
		}
		if t := s.total(); t.Bad() || t.Early > 0 || t.Late > 0 {
			errs = append(errs, fmt.Errorf("%s: %w: %d lost, %d doubled, %d early, %d late, %d not cancelled", s.Name, errBroken, t.Lost, t.Doubled, t.Early, t.Late, t.Deaf))
		}
	}
	return errors.Join(errs...)
}

// The systems that are ours.
const (
	oursName       = "taskweir"
	standaloneName = "standalone"
	stockName      = "taskweir-stock"
)

func (s *System) ours() bool {
	return s.Name == oursName || s.Name == standaloneName || s.Name == stockName
}

// JSON writes the report as one object.
func (r *Report) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// Read reads what JSON wrote, and judges it anew.
func Read(file string) (*Report, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	var r Report
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("read report %s: %w", file, err)
	}
	r.Finish(time.Duration(r.Seconds) * time.Second)
	r.anew = commit()
	return &r, nil
}
