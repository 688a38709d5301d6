package control

import (
	"context"
	"fmt"
	"time"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// PreviewInput asks when a schedule would fire.
type PreviewInput struct {
	TimesInput
	From   Maybe[int64] // fires are strictly after it; default now
	Count  Maybe[int64] // 1 … 1,000; default 5
	Broken []task.FieldError
}

// Preview is what a schedule does, in words and in instants.
type Preview struct {
	Words string
	Fires []Fire // empty when nothing is left
}

// Fire is one slot to come.
type Fire struct {
	At    int64
	Local string // on the clock of the zone, with its offset
	Note  string // about a change of the clock, jitter; "" mostly
	DueAt int64  // when the task is due; 0: not known before the schedule is stored
}

const defaultFires = 5

// Preview tells when a schedule would fire that need not be stored. What can never fire at all is refused; of what is over the
// list is empty. Needs scope read.
func (s *Service) Preview(ctx context.Context, p Principal, in *PreviewInput) (Preview, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return Preview{}, err
	}
	f := faults{fields: in.Broken}
	t := timetable(&in.TimesInput, &schedule.Definition{}, &f)
	checkFires(in.From, in.Count, &f)
	if err := f.err(); err != nil {
		return Preview{}, err
	}
	return fires(t, 0, in.From.or(s.clock.Now()), int(in.Count.or(defaultFires)), nil), nil
}

// PreviewSchedule tells when a stored schedule fires next, without the slots that were skipped by hand. Of a paused one it
// tells when it would. Needs scope read.
func (s *Service) PreviewSchedule(ctx context.Context, p Principal, id int64, from, count Maybe[int64], brokenBefore []task.FieldError) (Preview, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return Preview{}, err
	}
	f := faults{fields: brokenBefore}
	checkFires(from, count, &f)
	if err := f.err(); err != nil {
		return Preview{}, err
	}
	row, t, err := s.readSchedule(ctx, p, id)
	if err != nil {
		return Preview{}, err
	}
	now := s.clock.Now()
	skipped, err := s.skippedAfter(ctx, id, now)
	if err != nil {
		return Preview{}, err
	}
	if row.Pause != schedule.NotPaused {
		skipped = nil
	}
	return fires(t, id, from.or(now), int(count.or(defaultFires)), skipped), nil
}

func checkFires(from, count Maybe[int64], f *faults) {
	f.inRange("count", count, 1, schedule.MaxFires)
	if from.Set && from.V < 0 {
		f.add("from", "range", "must not be before 1970")
	}
}

// fires lists the next count slots after from. Without an id the jitter is not known.
func fires(t *schedule.Timetable, id, from int64, count int, skipped map[int64]bool) Preview {
	out := Preview{Words: describe(t), Fires: []Fire{}}
	for before, at := from, t.Next(from); at != schedule.Never && len(out.Fires) < count; before, at = at, t.Next(at) {
		if skipped[at] {
			continue
		}
		x := Fire{At: at, Local: t.Times().Local(at), DueAt: at}
		switch {
		case t.JitterMs > 0 && id == 0:
			x.DueAt = 0
		case t.JitterMs > 0:
			x.DueAt = at + schedule.Jitter(id, at, t.JitterMs)
		}
		x.Note = join(join(t.Times().NoteBetween(before, at), t.Times().Note(at)), jitterNote(t, x))
		out.Fires = append(out.Fires, x)
	}
	return out
}

func jitterNote(t *schedule.Timetable, x Fire) string {
	switch {
	case t.JitterMs == 0:
		return ""
	case x.DueAt == 0:
		return fmt.Sprintf("starts up to %s later (jitter)", time.Duration(t.JitterMs)*time.Millisecond)
	}
	return fmt.Sprintf("starts %s later (jitter)", time.Duration(x.DueAt-x.At)*time.Millisecond)
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// describe says in words when a schedule fires: its spec, zone and bounds.
func describe(t *schedule.Timetable) string {
	words := t.Times().Describe()
	if t.StartAt > 0 {
		words += ", from " + t.Times().Local(t.StartAt)
	}
	if t.EndAt > 0 {
		words += ", until before " + t.Times().Local(t.EndAt)
	}
	if t.JitterMs > 0 {
		words += fmt.Sprintf(", up to %s later (jitter)", time.Duration(t.JitterMs)*time.Millisecond)
	}
	return words
}

func rfc3339(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }
