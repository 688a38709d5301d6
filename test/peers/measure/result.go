package measure

import (
	"fmt"
	"slices"
)

// Result is what one round of one system gave.
type Result struct {
	Figures []Figure          `json:"figures"` // in the order of measuring
	Fates   []Fate            `json:"fates"`
	Modules map[string]string `json:"modules"` // versions of Go modules in this program
}

// Figure is one value.
type Figure struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit"`
	Value float64 `json:"value"`
	None  bool    `json:"none,omitempty"` // the system has no such thing
}

// Fate is what became of the tasks of one measure.
type Fate struct {
	Measure   string `json:"measure"`
	Submitted int64  `json:"submitted"`
	Lost      int64  `json:"lost"`    // accepted, and never started, or not on the system's record as ended
	Doubled   int64  `json:"doubled"` // runs beyond the first
	Early     int64  `json:"early"`   // started before their time
	Late      int64  `json:"late"`    // not started in the time that the measure waits; thrown away
	Deaf      int64  `json:"deaf"`    // cancelled while they ran, and their contexts did not end
}

// Bad reports whether a promise was broken that every queue makes.
func (f Fate) Bad() bool { return f.Lost > 0 || f.Doubled > 0 || f.Deaf > 0 }

// Plus adds up.
func (f Fate) Plus(g Fate) Fate {
	return Fate{f.Measure, f.Submitted + g.Submitted, f.Lost + g.Lost, f.Doubled + g.Doubled, f.Early + g.Early, f.Late + g.Late, f.Deaf + g.Deaf}
}

func (r *Result) add(name, unit string, v float64) {
	r.Figures = append(r.Figures, Figure{Name: name, Unit: unit, Value: v})
}

func (r *Result) none(name, unit string) {
	r.Figures = append(r.Figures, Figure{Name: name, Unit: unit, None: true})
}

// figure gives a value that was measured before.
func (r *Result) figure(name string) (float64, bool) {
	for _, f := range r.Figures {
		if f.Name == name && !f.None {
			return f.Value, true
		}
	}
	return 0, false
}

// The quantiles that are shown.
var quantiles = []struct {
	name string
	q    float64
}{{"p50", 0.50}, {"p95", 0.95}, {"p99", 0.99}}

// quantiles adds those of some values in ms.
func (r *Result) quantiles(name string, values []float64) {
	slices.Sort(values)
	for _, q := range quantiles {
		r.add(fmt.Sprintf("%s, %s", name, q.name), "ms", quantile(values, q.q))
	}
}

// quantile is the q-quantile of sorted values; 0 for none.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
