package report

import (
	"fmt"
	"math"

	"github.com/taskweir/taskweir/internal/bench"
	"github.com/taskweir/taskweir/test/peers/measure"
)

// Goal is one line of what Taskweir promises to reach.
type Goal struct {
	What    string `json:"what"`
	Goal    string `json:"goal"`
	Got     string `json:"got"`     // ratio or value
	ByRound string `json:"byRound"` // least … greatest, where both were measured in the same rounds
	Against string `json:"against"` // what it was compared with
	Reached bool   `json:"reached"`
	Unknown bool   `json:"unknown,omitempty"` // something it needs was not measured
	Reason  string `json:"reason,omitempty"`  // why it was not reached, where that is known
}

// best is the best peer in something.
type best struct {
	name  string
	value float64
	ok    bool
	by    []float64 // rounds
}

// bestOf finds the peer with the highest, or lowest, median of some figures, each peer by its best way. The stock settings of a
// system are no peer of their own.
func (r *Report) bestOf(lowest, durable bool, figures ...string) best {
	return r.bestWho(func(s *System) bool { return !durable || s.Durable != "" }, lowest, figures...)
}

// bestWho is bestOf of the peers that may.
func (r *Report) bestWho(may func(*System) bool, lowest bool, figures ...string) best {
	var b best
	for _, s := range r.Systems {
		if s.ours() || s.Transport || s.Tuned != "" || !may(s) {
			continue
		}
		for _, name := range figures {
			v, ok := s.median(name)
			if ok && (!b.ok || lowest && v < b.value || !lowest && v > b.value) {
				b = best{s.Title, v, true, s.Figure(name).Values}
			}
		}
	}
	return b
}

// judge compares Taskweir with the peers, line by line.
func (r *Report) judge() []Goal {
	us := r.System(oursName)
	if us == nil {
		return nil
	}
	j := &judge{r: r, us: us}
	j.throughput()
	j.latencies()
	j.instants()
	t := us.total()
	bad := t.Lost + t.Late + t.Doubled
	j.add(Goal{What: "accepted tasks lost, never started or doubled, of all measures", Goal: "0", Got: fmt.Sprintf("%d of %s", bad, bench.Grouped(t.Submitted)), Reached: bad == 0})
	return j.goals
}

type judge struct {
	r     *Report
	us    *System
	goals []Goal
}

func (j *judge) add(g Goal) { j.goals = append(j.goals, g) }

func (j *judge) throughput() {
	j.atLeast("drain of 50,000 no-op tasks", measure.Drain, 3, j.r.bestOf(false, false, measure.Drain))
	j.atLeast("steady, single submits of 256 callers", measure.Steady256, 2, j.r.bestOf(false, false, measure.Steady256, measure.Steady32))
	j.atLeast("steady, batches of 500", measure.SteadyBulk, 2.5, j.r.bestOf(false, true, measure.SteadyBulk, measure.Steady256, measure.Steady32))
	j.atLeast("steady, single submits over HTTP, 256 clients", measure.SteadyHTTP, 0.35, j.own(measure.BareHTTP))
	j.callbacks()
	j.atMostOf("CPU seconds of all processes per 1,000 drained", measure.DrainCPU, 0.4, j.lowestAsynq())
}

// callbacks are held against the best peer of all, against the best of those that keep a record of a task as Taskweir does, and
// against bare requests, which bound them all.
func (j *judge) callbacks() {
	yard := j.own(measure.BareHTTP, measure.BareHTTPFew)
	peer := j.r.bestOf(false, false, measure.Callbacks)
	j.atLeast("HTTP callbacks", measure.Callbacks, 2, peer)
	j.because(func(ours float64) string {
		if !yard.ok {
			return ""
		}
		return fmt.Sprintf("twice the best peer, which would be %.2f × of the bare POSTs, leaves %s µs of the processors for a callback; a bare POST takes %s µs, "+
			"Taskweir's callback with its record in the database %s µs", 2*peer.value/yard.value, j.cost(2*peer.value), j.cost(yard.value), j.cost(ours))
	})
	recorded := j.r.bestWho(func(s *System) bool { return !s.Unrecorded }, false, measure.Callbacks)
	j.atLeast("HTTP callbacks, of peers that keep a record of a task", measure.Callbacks, 2, recorded)
	j.atLeast("HTTP callbacks", measure.Callbacks, 0.6, yard)
	j.because(func(ours float64) string {
		return fmt.Sprintf("with all processors busy a bare POST between net/http's client and server takes %s µs of them; a callback with announcing, claiming and "+
			"committing a task and its answer takes %s µs, the goal leaves %s µs", j.cost(yard.value), j.cost(ours), j.cost(0.6*yard.value))
	})
}

// cost is how many µs of all processors one of so many in a second takes.
func (j *judge) cost(perSecond float64) string {
	return bench.Number(float64(j.r.Machine.Cores) * 1e6 / perSecond)
}

// because adds to the last goal, when it was not reached, why.
func (j *judge) because(why func(callbacks float64) string) {
	g := &j.goals[len(j.goals)-1]
	if ours, ok := j.us.median(measure.Callbacks); ok && !g.Unknown && !g.Reached {
		g.Reason = why(ours)
	}
}

// own is the highest of some yardsticks that were measured in Taskweir's own rounds.
func (j *judge) own(names ...string) best {
	var b best
	for _, name := range names {
		if v, ok := j.us.median(name); ok && (!b.ok || v > b.value) {
			b = best{name, v, true, j.us.Figure(name).Values}
		}
	}
	return b
}

// lowestAsynq is the asynq that needs the least processor time.
func (j *judge) lowestAsynq() best {
	var b best
	for _, name := range []string{"asynq-aof", "asynq-mem"} {
		s := j.r.System(name)
		if s == nil {
			continue
		}
		if v, ok := s.median(measure.DrainCPU); ok && (!b.ok || v < b.value) {
			b = best{s.Title, v, true, s.Figure(measure.DrainCPU).Values}
		}
	}
	return b
}

func (j *judge) latencies() {
	p99 := ", p99"
	j.atMost("submit → start at 200/s, p99", measure.Pickup+p99, 6)
	j.atMostOf("submit → start at 200/s, p99", measure.Pickup+p99, 1, j.r.bestOf(true, true, measure.Pickup+p99))
	j.atMost("due one by one, 200/s: p99 late", measure.Spread+p99, 10)
	j.atMost("cancel request → handler's context cancelled, p99", measure.Cancel+p99, 50)
}

func (j *judge) instants() {
	early := int64(0)
	for _, f := range j.us.Fates {
		early += f.Early
	}
	j.add(Goal{What: "delayed tasks started early", Goal: "0", Got: fmt.Sprint(early), Reached: early == 0})
	drain, drained := j.us.median(measure.Drain)
	for _, way := range []struct {
		name   string
		drains float64
	}{{measure.InstantBulk, 1}, {measure.InstantSingle, 2}} {
		j.atMost(way.name+": first late", way.name+measure.FirstLate, 10)
		limit := way.drains*float64(j.r.Sizes.Instant)*1000/drain + 20
		if !drained {
			limit = math.NaN()
		}
		j.atMost(fmt.Sprintf("%s: last late (%.0f × drain time + 20 ms)", way.name, way.drains), way.name+measure.LastLate, limit)
		j.atMostOf(way.name+": p99 late", way.name+measure.P99Late, 0.5, j.r.bestOf(true, false, measure.InstantBulk+measure.P99Late, measure.InstantSingle+measure.P99Late))
	}
}

// atLeast wants a figure to be a multiple of another.
func (j *judge) atLeast(what, figure string, times float64, of best) {
	g := Goal{What: what, Goal: fmt.Sprintf("≥ %s ×", trim(times))}
	j.ratio(g, figure, of, func(ratio float64) bool { return ratio >= times })
}

// atMostOf wants a figure to be at most a multiple of another.
func (j *judge) atMostOf(what, figure string, times float64, of best) {
	g := Goal{What: what, Goal: fmt.Sprintf("≤ %s ×", trim(times))}
	j.ratio(g, figure, of, func(ratio float64) bool { return ratio <= times })
}

func (j *judge) ratio(g Goal, figure string, of best, ok func(ratio float64) bool) {
	v, has := j.us.median(figure)
	if of.ok {
		g.Against = fmt.Sprintf("%s: %s", of.name, bench.Number(of.value))
	}
	if !has || !of.ok || of.value <= 0 { // a peer that starts tasks early is late by less than nothing: that has no multiples
		g.Unknown = true
		j.add(g)
		return
	}
	g.Got, g.ByRound = fmt.Sprintf("%.2f ×", v/of.value), byRound(j.us.Figure(figure).Values, of.by)
	g.Reached = ok(v / of.value)
	j.add(g)
}

// byRound is the least and the greatest ratio of two figures of the same round. A failed round leaves it open which belong together.
func byRound(ours, theirs []float64) string {
	if len(ours) != len(theirs) || len(ours) == 0 {
		return ""
	}
	least, most := math.Inf(1), math.Inf(-1)
	for i, v := range ours {
		if theirs[i] <= 0 {
			return ""
		}
		least, most = min(least, v/theirs[i]), max(most, v/theirs[i])
	}
	return fmt.Sprintf("%.2f … %.2f", least, most)
}

// atMost wants a figure to be at most a value in ms.
func (j *judge) atMost(what, figure string, limit float64) {
	g := Goal{What: what, Goal: fmt.Sprintf("≤ %s ms", bench.Number(limit))}
	if math.IsNaN(limit) {
		g.Goal = "of a drain that was not measured"
	}
	v, has := j.us.median(figure)
	if !has || math.IsNaN(limit) {
		g.Unknown = true
		j.add(g)
		return
	}
	f := j.us.Figure(figure)
	g.Got, g.ByRound, g.Reached = bench.Number(v)+" ms", bench.Number(f.Min)+" … "+bench.Number(f.Max), v <= limit
	j.add(g)
}

// Short lists the goals that were not reached.
func (r *Report) Short() []Goal {
	var short []Goal
	for _, g := range r.Goals {
		if !g.Reached {
			short = append(short, g)
		}
	}
	return short
}
