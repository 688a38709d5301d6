package bench

import "fmt"

// goal is what a figure should reach. Exactly one of its three forms is used.
type goal struct {
	figure  string
	of      string  // yardstick: median ≥ atLeast × its median
	atLeast float64 //
	atMost  float64 // median ≤ atMost
	drains  float64 // median ≤ drains × the time in which the instant's tasks drain, + 20 ms
}

// goals are those of the core on the system that was measured.
func (r *Report) goals() []goal {
	h := bareYard(256)
	all := []goal{
		{figure: "pickup at 200/s, p99", atMost: 6},
		{figure: instantBatches + ": first late", atMost: 10},
		{figure: instantSingly + ": first late", atMost: 10},
		{figure: instantBatches + ": last late", drains: 1},
		{figure: instantSingly + ": last late", drains: 2},
		{figure: "delays spread at 200/s, p99", atMost: 10},
		{figure: "cancel, p99", atMost: 50},
		{figure: firingFigure(r.schedules, false) + ": late, p99", atMost: 20},
		{figure: firingFigure(r.schedules, true) + ": late, p99", atMost: 20},
		{figure: sleepingFigure(r.sleeping) + ": processor, all processes", atMost: 0.5},
		{figure: fairFigure, atMost: 2000},
	}
	if r.sqlite {
		return append(all, goal{figure: drainFigure, of: r.insertYard(), atLeast: 0.3}, goal{figure: steadyHTTPFigure, of: h, atLeast: 0.25})
	}
	return append(all, goal{figure: drainFigure, of: r.insertYard(), atLeast: 0.5}, goal{figure: steadyFigure, of: r.insertYard(), atLeast: 0.25},
		goal{figure: steadyHTTPFigure, of: h, atLeast: 0.35}, goal{figure: callbackFigure, of: h, atLeast: 0.6})
}

// judge sets the goal's text, the ratio and whether it was met.
func (g goal) judge(r *Report, f *Figure) {
	met := false
	switch {
	case g.of != "":
		yard := r.byName[g.of]
		if yard == nil || yard.Median == 0 {
			return
		}
		f.Ratio = f.Median / yard.Median
		f.Goal = fmt.Sprintf("≥ %.2f %s", g.atLeast, g.of[:1])
		met = f.Ratio >= g.atLeast
	case g.drains != 0:
		drain := r.byName[drainFigure]
		if drain == nil || drain.Median == 0 {
			return
		}
		limit := g.drains*float64(r.instant)*1000/drain.Median + 20
		f.Goal = fmt.Sprintf("≤ %.0f × drain time + 20 = %s ms", g.drains, Number(limit))
		met = f.Median <= limit
	default:
		f.Goal = fmt.Sprintf("≤ %s %s", Number(g.atMost), f.Unit)
		met = f.Median <= g.atMost
	}
	f.Met = &met
}
