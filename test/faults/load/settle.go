package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
	"github.com/taskweir/taskweir/test/faults/history"
)

const (
	settleLook = 250 * time.Millisecond // how often Stop looks
	sayEvery   = 5 * time.Second        // how often it says what it waits for
)

// StopSubmits ends new submits. What the agenda says goes on. The harness may call it to let a round end before Stop.
func (l *Load) StopSubmits() {
	l.stopping.Store(true)
	l.submits()
	l.submitWG.Wait()
}

// Stop ends new submits, works the agenda off, waits until every task of the app is final and nothing is left over, and gives
// the history: everything but Faults and Processes. within bounds the waiting; what is not final by then stands in End.Stuck, with what
// the API and the rows say of it. The faults must be over, or it will wait in vain.
//
// An error means that the history could not be taken: the database or every API stays away.
func (l *Load) Stop(ctx context.Context, within time.Duration) (*history.History, error) {
	l.StopSubmits()
	deadline, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	stuck := l.settle(deadline)
	h := &history.History{Fenced: l.o.Fence, Limited: l.limits()}
	read, done := context.WithTimeout(ctx, 2*time.Minute)
	defer done()
	err := l.readEnd(read, &h.End)
	if err == nil && stuck != nil {
		h.End.Stuck = l.stuck(read, stuck)
	}
	err = errors.Join(err, l.close())
	var odd []string
	h.Effects, h.End.Told, h.Clock.Sink, odd = l.sink.seen()
	for _, call := range odd {
		err = errors.Join(err, fmt.Errorf("load: the sink was called in a way that no worker calls it: %s", call))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	h.Ops, h.Clock.Database = l.ops, l.clock.Database
	return h, err
}

// settle waits until all is quiet. It gives why it is not when ctx ends.
func (l *Load) settle(ctx context.Context) error {
	if err := l.pauseSchedules(ctx); err != nil {
		return err
	}
	if why := l.waitFor(ctx, l.unended); why != nil {
		return why
	}
	// The bells of tasks that expired in the paused queue are dropped when somebody looks at them: now.
	if _, err := l.admin.Queues.Resume(ctx, l.queue(paused)); err != nil {
		return fmt.Errorf("load: resume the paused queue: %w", err)
	}
	return l.waitFor(ctx, l.unsettled)
}

// waitFor waits until check finds nothing, twice in a row. It gives what it found last when ctx ends.
func (l *Load) waitFor(ctx context.Context, check func(context.Context) error) error {
	why, said := errors.New("nothing was looked at"), time.Now()
	for quiet := 0; quiet < 2; {
		if err := check(ctx); err != nil {
			if quiet, why = 0, err; time.Since(said) > sayEvery {
				said = time.Now()
				l.o.Log.Info("the load waits for its end", "because", why)
			}
		} else {
			quiet++
		}
		if wait(ctx, settleLook); ctx.Err() != nil {
			return why
		}
	}
	return nil
}

// unended says what is still to end.
func (l *Load) unended(ctx context.Context) error {
	if n := l.agenda.open(); n > 0 {
		return fmt.Errorf("%d things are still to be asked", n)
	}
	n, err := l.db.open(ctx, l.appID)
	if err != nil {
		return err
	}
	if n > 0 {
		return fmt.Errorf("%d tasks are not final", n)
	}
	return nil
}

// unsettled says what is not quiet yet.
func (l *Load) unsettled(ctx context.Context) error {
	if err := l.unended(ctx); err != nil {
		return err
	}
	left, err := l.readLeft(ctx)
	if err != nil {
		return err
	}
	if len(left.Bells)+len(left.Claims)+left.Held > 0 {
		return fmt.Errorf("%d bells, %d claims and %d held slots are left", len(left.Bells), len(left.Claims), left.Held)
	}
	return nil
}

// stuckMost is how many stuck tasks are described.
const stuckMost = 20

// stuck describes tasks that are not final.
func (l *Load) stuck(ctx context.Context, why error) []history.Stuck {
	list := []history.Stuck{{Text: why.Error()}}
	var ids []int64
	if err := l.db.each(ctx, "SELECT id FROM tasks WHERE app_id=? AND state IN (1,2,3) ORDER BY id LIMIT ?", []any{l.appID, stuckMost}, func(scan func(...any) error) error {
		var id int64
		err := scan(&id)
		ids = append(ids, id)
		return err
	}); err != nil {
		return append(list, history.Stuck{Text: err.Error()})
	}
	for _, id := range ids {
		list = append(list, l.describe(ctx, id))
	}
	return list
}

func (l *Load) describe(ctx context.Context, id int64) history.Stuck {
	s := history.Stuck{Task: id}
	t, err := l.apis[0].Get(ctx, apiv1.ID(id))
	if err != nil {
		s.Text = err.Error()
	} else if s.State = t.State; t.Verdict != nil {
		s.Verdict, s.Text = t.Verdict.Code, t.Verdict.Text
	}
	const query = "SELECT t.state,t.epoch,t.failures,t.losses,t.flags,t.due_at,t.holder,t.worker_id,t.started_at,t.cancel_at," +
		"COALESCE(b.id,0),COALESCE(b.kind,0),COALESCE(b.due_at,0),COALESCE(b.direct,0),COALESCE(c.id,0),COALESCE(w.state,0),COALESCE(w.beat_at,0)" +
		" FROM tasks t LEFT JOIN bells b ON b.id=t.holder LEFT JOIN claims c ON c.id=t.holder LEFT JOIN workers w ON w.id=t.worker_id WHERE t.id=?"
	var n [17]int64
	to := make([]any, len(n))
	for i := range n {
		to[i] = &n[i]
	}
	now, _ := l.db.now(ctx) // 0 shows that it could not be read
	if err := l.db.QueryRowContext(ctx, query, id).Scan(to...); err != nil {
		s.Rows = err.Error()
		return s
	}
	s.Rows = fmt.Sprintf("state %d epoch %d failures %d losses %d flags %#x due in %d ms, holder %d, worker %d, started %d ms ago, cancel_at %d; bell %d kind %d due in %d ms direct %d; claim %d; worker state %d beat %d ms ago",
		n[0], n[1], n[2], n[3], n[4], n[5]-now, n[6], n[7], now-n[8], n[9], n[10], n[11], n[12]-now, n[13], n[14], n[15], now-n[16])
	return s
}
