package control

import (
	"context"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	minuteMs      = 60_000
	hourMs        = 60 * minuteMs
	dayMs         = 24 * hourMs
	maxStatsStep  = 366 * dayMs
	maxStatsSteps = 1_500 // a day by the minute
	chartSteps    = 300   // about what a chart shows
	statsMinutes  = 8 * dayMs
	statsHours    = 100 * dayMs
)

// StatsInput asks for figures. What is not set takes its default.
type StatsInput struct {
	From, To Maybe[int64] // ms; default: the last hour
	StepMs   Maybe[int64] // whole minutes; default: so that there are at most 300 steps
	By       string       // queue, app, kind, "": one line for all
}

// Stats gives what happened to the principal's tasks, for every app to those of all but the system's own; query says how the
// input was rounded: to whole steps. Needs scope read.
func (s *Service) Stats(ctx context.Context, p Principal, in StatsInput) (query task.StatsQuery, items []task.Stat, err error) {
	if err := p.need(task.ScopeRead); err != nil {
		return query, nil, err
	}
	now := s.clock.Now()
	to := in.To.or(now)
	from := in.From.or(to - hourMs)
	var bad faults
	if from >= to {
		bad.add("to", "after", "must be later than from")
	}
	if in.From.Set && from < 1 {
		bad.add("from", "range", "must be later than 1970")
	}
	if in.To.Set && to > now+maxStatsStep {
		bad.add("to", "range", "must not be more than a year from now")
	}
	switch task.StatsBy(in.By) {
	case task.StatsByNothing, task.StatsByQueue, task.StatsByApp, task.StatsByKind:
	default:
		bad.add("by", "one_of", "must be queue, app or kind")
	}
	if v := in.StepMs.V; in.StepMs.Set && (v < minuteMs || v > maxStatsStep || v%minuteMs != 0) {
		bad.add("stepMs", "range", "must be whole minutes: 60000 … 31622400000")
	}
	if err := bad.err(); err != nil {
		return query, nil, err
	}
	step := in.StepMs.V
	if !in.StepMs.Set {
		step = statsStep(to-from, now-from)
	}
	query = task.StatsQuery{AppID: p.appID(), From: from / step * step, To: (to + step - 1) / step * step, StepMs: step, By: task.StatsBy(in.By)}
	if (query.To-query.From)/step > maxStatsSteps {
		return query, nil, task.InvalidField("stepMs", "max_items", "these are more than 1500 steps: choose longer ones, or a shorter time")
	}
	items, err = s.store.Stats(ctx, query)
	return query, items, err
}

// statsStep chooses a step for a stretch of time that began so long ago.
func statsStep(length, age int64) int64 {
	for _, step := range [...]int64{minuteMs, 5 * minuteMs, 15 * minuteMs, hourMs, 6 * hourMs} {
		if length/step <= chartSteps && (step >= hourMs || age < statsMinutes-hourMs) && age < statsHours-dayMs {
			return step
		}
	}
	return max(dayMs, (length/chartSteps+dayMs-1)/dayMs*dayMs)
}
