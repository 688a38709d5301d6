package history

import (
	"slices"
	"strings"
	"time"
)

// byKind sums up what each kind of fault did: the lines of the table.
func (c *checker) byKind() {
	lines := map[string]*KindCount{}
	spans := map[string][]span{}
	kindOf := map[int]string{}
	recovered := map[string][]time.Duration{}
	for i := range c.h.Faults {
		f := &c.h.Faults[i]
		if lines[f.Kind] == nil {
			lines[f.Kind] = &KindCount{Kind: f.Kind}
		}
		lines[f.Kind].Faults++
		kindOf[f.N] = f.Kind
		spans[f.Kind] = append(spans[f.Kind], span{f.Injected, min(f.until(), 1<<61) + max(f.Recovered, 0)})
		if f.Recovered > 0 {
			recovered[f.Kind] = append(recovered[f.Kind], f.Recovered)
		}
	}
	for _, d := range c.report.Duplicates {
		if d.By == ByFault {
			lines[kindOf[d.Fault]].Duplicates++
		}
	}
	for _, n := range c.lateBy {
		lines[kindOf[n]].Late++
	}
	for kind, line := range lines {
		c.under(line, merged(spans[kind]))
		line.Slowest, line.Mean = times(recovered[kind])
		c.report.ByKind = append(c.report.ByKind, *line)
	}
	slices.SortFunc(c.report.ByKind, func(a, b KindCount) int { return strings.Compare(a.Kind, b.Kind) })
	c.report.Lost, c.report.Double = len(c.lost), len(c.doubled)
}

// under counts the tasks that lived while such faults acted.
func (c *checker) under(line *KindCount, acting []span) {
	for i := range c.h.End.Tasks {
		r := &c.h.End.Tasks[i]
		lived := span{c.clock.of(r.Created).lo, 1<<62 - 1}
		if r.Finished != 0 {
			lived.hi = c.clock.of(r.Finished).hi
		}
		at, _ := slices.BinarySearchFunc(acting, lived.lo, func(s span, from time.Duration) int { return int(min(max(s.hi-from, -1), 1)) })
		if at == len(acting) || acting[at].lo > lived.hi {
			continue
		}
		line.Tasks++
		if c.lost[r.ID] {
			line.Lost++
		}
		if c.doubled[r.ID] {
			line.Double++
		}
	}
	for id := range c.lost {
		if c.rows[id] == nil {
			line.Lost++ // it is not known when it was lost
		}
	}
}

// merged sorts stretches of time and joins those that meet.
func merged(list []span) []span {
	slices.SortFunc(list, func(a, b span) int { return int(a.lo - b.lo) })
	var out []span
	for _, s := range list {
		if n := len(out); n > 0 && s.lo <= out[n-1].hi {
			out[n-1].hi = max(out[n-1].hi, s.hi)
			continue
		}
		out = append(out, s)
	}
	return out
}

// times gives the longest and the mean.
func times(list []time.Duration) (slowest, mean time.Duration) {
	if len(list) == 0 {
		return 0, 0
	}
	var sum time.Duration
	for _, d := range list {
		slowest, sum = max(slowest, d), sum+d
	}
	return slowest, sum / time.Duration(len(list))
}
