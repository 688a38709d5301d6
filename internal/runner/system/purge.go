package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/taskweir/taskweir/internal/runner/payload"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

const (
	purgeRows     = 500
	purgeSlow     = 100 * time.Millisecond // pause after a step that found nothing
	purgeQuickest = 10 * time.Millisecond
	purgeBudget   = 4 * time.Minute // of one run
	purgeStepTime = 10 * time.Second
	dryEnd        = 40 // steps in a row that deleted nothing: nothing old is left in front
	slices        = int64(24 * time.Hour / purgeEvery)
	splitsMost    = 40 // how often a step is cut in two: that finds three or four tasks that are alone at fault
)

// PurgeStore is what the purge needs of the database.
type PurgeStore interface {
	// TaskIDRange gives the smallest and largest task id, 0, 0 when there is none.
	TaskIDRange(ctx context.Context) (first, last int64, err error)
	// Purge does one bounded step of the purge walk. With an error the report's NextID, if it is not 0, says where the step
	// would have ended.
	Purge(ctx context.Context, req task.PurgeRequest) (task.PurgeReport, error)
	// PurgeSlots deletes slots that were decided before an instant, and what is left of deleted schedules, bounded; it gives how
	// many rows it deleted: 0 when nothing is left.
	PurgeSlots(ctx context.Context, before int64, limit int) (int, error)
	// PurgeStats deletes figures that are past their time; PurgeAudit deletes entries of the audit trail from before an instant, and
	// PurgeBulks bulk operations that ended before it. Each is bounded, and gives how many rows it deleted: 0 when nothing is left.
	PurgeStats(ctx context.Context, now int64, limit int) (int, error)
	PurgeAudit(ctx context.Context, before int64, limit int) (int, error)
	PurgeBulks(ctx context.Context, before int64, limit int) (int, error)
}

// Clock is the database's clock.
type Clock interface {
	// Now is the database's time in ms.
	Now() int64
}

// Purge runs system.purge.
type Purge struct {
	store PurgeStore
	clock Clock
	log   *slog.Logger // may be nil
}

// NewPurge makes the runner.
func NewPurge(store PurgeStore, clock Clock, log *slog.Logger) *Purge {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Purge{store, clock, log}
}

// Kind is system.purge.
func (*Purge) Kind() string { return KindPurge }

// purged is the result of a run.
type purged struct {
	Tasks       int  `json:"tasks"`
	Slots       int  `json:"slots"` // and rows of deleted schedules
	Stats       int  `json:"stats,omitempty"`
	Audit       int  `json:"audit,omitempty"`
	Bulks       int  `json:"bulkOperations,omitempty"`
	SteppedOver int  `json:"steppedOver,omitempty"`
	Unfinished  bool `json:"unfinished,omitempty"` // the time was over: the next run goes on
}

// Run deletes what is old enough.
func (p *Purge) Run(ctx context.Context, job worker.Job) task.Result {
	var keep Retention
	if wrong := payload.Decode(job.Payload, &keep); wrong != nil {
		return broken(payload.Text(*wrong))
	}
	if err := keep.check(); err != nil {
		return broken(err.Error())
	}
	budget, cancel := context.WithTimeoutCause(ctx, purgeBudget, errBudget)
	defer cancel()
	w := walk{p: p, keep: keep}
	err := w.run(budget, job.DueAt)
	if over := context.Cause(budget); err != nil && ctx.Err() == nil && errors.Is(over, errBudget) {
		w.done.Unfinished, err = true, nil
	}
	if w.stepErr != nil {
		p.log.Error("tasks were stepped over, the next purge tries them again", "at_most", w.done.SteppedOver, "from", w.stepFrom, "err", w.stepErr)
	}
	return result(w.done, err)
}

var errBudget = errors.New("the time of a run is over")

func broken(message string) task.Result {
	return task.Result{Outcome: task.OutcomeFailed, Permanent: true, ErrCode: "invalid_payload", ErrMessage: message}
}

// result says what was done, also when it ended in an error.
func result(done any, err error) task.Result {
	body, jerr := json.Marshal(done)
	if err = errors.Join(err, jerr); err != nil {
		return task.Result{Outcome: task.OutcomeFailed, ErrCode: "system", ErrMessage: fmt.Sprintf("%v; done before that: %s", err, body)}
	}
	return task.Result{Outcome: task.OutcomeSucceeded, Body: body}
}

// walk is one run.
type walk struct {
	p    *Purge
	keep Retention
	done purged

	splits   int           // of the present step
	took     time.Duration // the last step
	stepFrom int64
	stepErr  error
}

func (w *walk) run(ctx context.Context, dueAt int64) error {
	end, err := w.quick(ctx)
	if err == nil && end != 0 {
		err = w.slice(ctx, dueAt, end)
	}
	if err != nil {
		return err
	}
	return errors.Join(w.drain(ctx, &w.done.Slots, w.keep.SlotsMs, w.p.store.PurgeSlots), w.drain(ctx, &w.done.Stats, 0, w.p.store.PurgeStats),
		w.drain(ctx, &w.done.Audit, w.keep.AuditMs, w.p.store.PurgeAudit), w.drain(ctx, &w.done.Bulks, w.keep.SlotsMs, w.p.store.PurgeBulks))
}

// drain deletes what is older than age from a table until nothing is left.
func (w *walk) drain(ctx context.Context, done *int, age int64, purge func(context.Context, int64, int) (int, error)) error {
	for {
		began := time.Now()
		n, err := purge(ctx, w.p.clock.Now()-age, purgeRows)
		if *done += n; err != nil || n == 0 {
			return err
		}
		if err := sleep(ctx, max(purgeQuickest, time.Since(began))); err != nil {
			return err
		}
	}
}

// quick walks from the front until nothing old was found for a while, and gives where it stopped; 0: it saw everything.
func (w *walk) quick(ctx context.Context) (int64, error) {
	next, pause := int64(0), purgeSlow
	for dry := 0; dry < dryEnd; dry++ {
		report, err := w.step(ctx, next)
		if err != nil || report.NextID == 0 {
			return 0, err
		}
		if next = report.NextID; report.Deleted > 0 {
			dry = 0
		}
		if pause, err = w.rest(ctx, pause, report.Deleted); err != nil {
			return 0, err
		}
	}
	return next, nil
}

// slice walks through the slice of the time of day, as far as it is behind what the quick walk saw. It begins a little before
// it, because ids move forward in the range of all while tasks come and go.
func (w *walk) slice(ctx context.Context, dueAt, seen int64) error {
	first, last, err := w.p.store.TaskIDRange(ctx)
	if err != nil || last == 0 {
		return err
	}
	width := (last-first)/slices + 1
	next := first + width*(dueAt/purgeEvery.Milliseconds()%slices)
	end := next + width
	next = max(next-width/10, seen)
	for pause := purgeSlow / 4; next < end; {
		report, err := w.step(ctx, next)
		if err != nil || report.NextID == 0 {
			return err
		}
		next = report.NextID
		if pause, err = w.rest(ctx, min(pause, purgeSlow/4), report.Deleted); err != nil {
			return err
		}
	}
	return nil
}

// rest pauses after a step, at least for as long as the step took, and gives the next pause.
func (w *walk) rest(ctx context.Context, last time.Duration, deleted int) (time.Duration, error) {
	next := min(purgeSlow, last*2)
	if deleted >= purgeRows/4 {
		next = max(purgeQuickest, last/2)
	}
	return next, sleep(ctx, max(next, w.took))
}

// step does one step. What cannot be deleted is stepped over and stays until the next run tries it again.
func (w *walk) step(ctx context.Context, from int64) (task.PurgeReport, error) {
	w.splits = 0
	began := time.Now()
	report, err := w.some(ctx, from, purgeRows)
	w.took = time.Since(began)
	w.done.Tasks += report.Deleted
	return report, err
}

// some goes on in smaller parts where something cannot be deleted, until that is alone.
func (w *walk) some(ctx context.Context, from int64, limit int) (task.PurgeReport, error) {
	report, err := w.once(ctx, from, limit)
	switch {
	case err == nil:
		return report, nil
	case ctx.Err() != nil, task.Transient(err), limit == 1 && report.NextID == 0:
		return task.PurgeReport{}, err
	case limit == 1 || w.splits >= splitsMost:
		if w.stepErr == nil {
			w.stepFrom, w.stepErr = from, err
		}
		w.done.SteppedOver += limit
		return report, nil
	}
	w.splits++
	first, err := w.some(ctx, from, limit/2)
	if err != nil || first.NextID == 0 {
		return first, err
	}
	second, err := w.some(ctx, first.NextID, limit-limit/2)
	second.Deleted += first.Deleted
	return second, err
}

func (w *walk) once(ctx context.Context, from int64, limit int) (task.PurgeReport, error) {
	ctx, cancel := context.WithTimeout(ctx, purgeStepTime)
	defer cancel()
	now := w.p.clock.Now()
	return w.p.store.Purge(ctx, task.PurgeRequest{FromID: from, Now: now, Limit: limit, SucceededBefore: now - w.keep.SucceededMs, OthersBefore: now - w.keep.OthersMs})
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
