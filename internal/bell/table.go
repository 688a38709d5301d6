package bell

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// tableEvery is how old the table may be: writers see a pause or a change of credit within it.
const tableEvery = 200 * time.Millisecond

// Table holds all lanes, read again each 200 ms. Reads take no lock.
type Table struct {
	load func(ctx context.Context) ([]task.Lane, error)
	log  *slog.Logger
	view atomic.Pointer[view]

	mu       sync.Mutex // held while the view is replaced and watchers are told
	watchers map[int]func(task.Lane)
	next     int
}

type name struct {
	queue    string
	priority task.Priority
}

// view is one state of the table; never changed.
type view struct {
	lanes  []task.Lane // by id
	byID   map[int32]task.Lane
	byName map[name]task.Lane
}

// NewTable makes an empty table. load lists every lane. log nil discards.
func NewTable(load func(ctx context.Context) ([]task.Lane, error), log *slog.Logger) *Table {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	t := &Table{load: load, log: log, watchers: map[int]func(task.Lane){}}
	t.view.Store(newView(nil))
	return t
}

func newView(lanes []task.Lane) *view {
	v := &view{lanes: lanes, byID: make(map[int32]task.Lane, len(lanes)), byName: make(map[name]task.Lane, len(lanes))}
	for _, l := range lanes {
		v.byID[l.ID] = l
		v.byName[name{l.Queue, l.Priority}] = l
	}
	return v
}

// Run reads at once and then each 200 ms until ctx ends. While the database is gone the last state stands.
func (t *Table) Run(ctx context.Context) {
	tick := time.NewTicker(tableEvery)
	defer tick.Stop()
	failing := false
	for {
		err := t.Refresh(ctx)
		if ctx.Err() != nil {
			return
		}
		if now := err != nil; now != failing {
			if failing = now; now {
				t.log.Warn("cannot read the lanes, the last known ones stand", "error", err)
			} else {
				t.log.Info("lanes can be read again")
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Refresh reads now.
func (t *Table) Refresh(ctx context.Context) error {
	lanes, err := t.load(ctx)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.view.Load()
	if slices.Equal(lanes, was.lanes) {
		return nil
	}
	lanes = slices.Clone(lanes)
	slices.SortFunc(lanes, func(a, b task.Lane) int { return int(a.ID) - int(b.ID) })
	// A lane that Add brought may be too young for what was read. Lanes are never deleted.
	now := newView(lanes)
	for _, l := range was.lanes {
		if _, ok := now.byID[l.ID]; !ok {
			lanes = append(lanes, l)
		}
	}
	t.replace(was, lanes)
	return nil
}

// Add makes a lane known that this process has just made or read.
func (t *Table) Add(l task.Lane) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.view.Load()
	if have, ok := was.byID[l.ID]; ok && have == l {
		return
	}
	lanes := slices.DeleteFunc(slices.Clone(was.lanes), func(x task.Lane) bool { return x.ID == l.ID })
	t.replace(was, append(lanes, l))
}

// replace stores the new state and tells watchers of lanes that were not in the old one. The lock is held.
func (t *Table) replace(was *view, lanes []task.Lane) {
	slices.SortFunc(lanes, func(a, b task.Lane) int { return int(a.ID) - int(b.ID) })
	t.view.Store(newView(lanes))
	for _, l := range lanes {
		if _, known := was.byID[l.ID]; known {
			continue
		}
		for _, f := range t.watchers {
			f(l)
		}
	}
}

// Lane gives a lane by its id.
func (t *Table) Lane(id int32) (task.Lane, bool) {
	l, ok := t.view.Load().byID[id]
	return l, ok
}

// ByName gives the lane of a queue and priority.
func (t *Table) ByName(queue string, p task.Priority) (task.Lane, bool) {
	l, ok := t.view.Load().byName[name{queue, p}]
	return l, ok
}

// All lists the lanes by id. The caller must not change it.
func (t *Table) All() []task.Lane { return t.view.Load().lanes }

// Watch calls f for every known lane, at once, and for every new one when it is seen. f is never called twice at a time and
// must not call the table. stop ends it; f is not called any more when stop has returned.
func (t *Table) Watch(f func(task.Lane)) (stop func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.view.Load().lanes {
		f(l)
	}
	id := t.next
	t.next++
	t.watchers[id] = f
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.watchers, id)
	}
}
