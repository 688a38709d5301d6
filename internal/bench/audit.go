package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// fate is what became of a set of tasks.
type fate struct {
	n           int64 // rows found
	final       int64 // of them, final
	doubled     int64 // claims beyond the first of each task; the bench lets nothing fail, so there should be none
	early       int64 // started before their time
	first, last int64 // first start, last end, ms of the database's clock
}

// span are the ids of a set of tasks that only the bench submits: they are looked at by range.
type span struct {
	from, to, n int64
}

// add takes ids into the span.
func (s *span) add(ids ...int64) {
	for _, id := range ids {
		if s.n == 0 || id < s.from {
			s.from = id
		}
		s.to = max(s.to, id)
		s.n++
	}
}

// merge takes another span in.
func (s *span) merge(o span) {
	if o.n == 0 {
		return
	}
	n := s.n + o.n
	s.add(o.from, o.to)
	s.n = n
}

// look reads what became of a span. It scans the span's rows: it is for after the work, not during.
func look(ctx context.Context, sys System, s span) (fate, error) {
	var f fate
	err := sys.DB().QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(SUM(state >= 4), 0), COALESCE(SUM(CASE WHEN epoch > 1 THEN epoch - 1 ELSE 0 END), 0),
 COALESCE(SUM(started_at > 0 AND started_at < due_at), 0), COALESCE(MIN(CASE WHEN started_at > 0 THEN started_at END), 0), COALESCE(MAX(finished_at), 0)
 FROM tasks WHERE id BETWEEN ? AND ?`, s.from, s.to).Scan(&f.n, &f.final, &f.doubled, &f.early, &f.first, &f.last)
	if err != nil {
		return f, fmt.Errorf("read what became of the tasks: %w", err)
	}
	return f, nil
}

// open counts the span's tasks that are not final.
func open(ctx context.Context, sys System, s span) (int64, error) {
	var n int64
	err := sys.DB().QueryRowContext(ctx, `SELECT COUNT(*) FROM tasks WHERE id BETWEEN ? AND ? AND state < 4`, s.from, s.to).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count open tasks: %w", err)
	}
	return n, nil
}

var errTooSlow = errors.New("not done in time")

// settle waits until every task of the span is final, looking again after each interval, and gives what became of them.
// Tasks that do not end in time are counted as lost, not waited for for ever.
func settle(ctx context.Context, sys System, s span, within, interval time.Duration) (fate, error) {
	for deadline := time.Now().Add(within); time.Now().Before(deadline); {
		n, err := open(ctx, sys, s)
		if err != nil {
			return fate{}, err
		}
		if n == 0 {
			break
		}
		if err := pause(ctx, interval); err != nil {
			return fate{}, err
		}
	}
	return look(ctx, sys, s)
}

// rate is final tasks per second, first start to last end.
func (f fate) rate() float64 {
	return float64(f.final) * 1000 / float64(max(1, f.last-f.first))
}

// until waits until ok holds, looking each few ms; errTooSlow when it does not in time.
func until(ctx context.Context, within time.Duration, ok func() bool) error {
	for deadline := time.Now().Add(within); !ok(); {
		if time.Now().After(deadline) {
			return errTooSlow
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// pause waits, or ends with ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
