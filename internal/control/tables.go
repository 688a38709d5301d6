package control

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/taskweir/taskweir/internal/task"
)

// kindTable knows the declared kinds. They are never withdrawn, so what was once read stays true; an unknown name is
// looked for in the database each time, one reading for all who look at the same moment.
type kindTable struct {
	store    Store
	builtins []string
	known    atomic.Pointer[map[string]int32]

	mu     sync.Mutex    // held while reading
	begun  atomic.Uint64 // readings begun
	latest uint64        // the number of the newest reading that succeeded
}

// id gives the id of a kind. declared is false when nobody declared it.
func (t *kindTable) id(ctx context.Context, name string) (id int32, declared bool, err error) {
	if m := t.known.Load(); m != nil {
		if id, ok := (*m)[name]; ok {
			return id, true, nil
		}
	}
	seen := t.begun.Load()
	t.mu.Lock()
	defer t.mu.Unlock()
	// A reading that began after we looked is as good as our own.
	if t.latest <= seen {
		if err := t.load(ctx); err != nil {
			return 0, false, err
		}
	}
	id, declared = (*t.known.Load())[name]
	return id, declared, nil
}

// load is called with mu held.
func (t *kindTable) load(ctx context.Context) error {
	number := t.begun.Add(1)
	rows, err := t.store.Kinds(ctx)
	if err != nil {
		return err
	}
	m := make(map[string]int32, len(rows)+len(t.builtins))
	for _, k := range rows {
		m[k.Name] = k.ID
	}
	missing := slices.DeleteFunc(slices.Clone(t.builtins), func(n string) bool { _, ok := m[n]; return ok })
	if len(missing) > 0 {
		ids, err := t.store.DeclareKinds(ctx, missing)
		if err != nil {
			return err
		}
		maps.Copy(m, ids)
	}
	t.known.Store(&m)
	t.latest = number
	return nil
}

func (t *kindTable) declare(ctx context.Context, name string) error {
	if _, err := t.store.DeclareKinds(ctx, []string{name}); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.load(ctx)
}

// laneTable knows the ids of lanes, which never change.
type laneTable struct {
	store Store
	ids   sync.Map // laneName → int32
}

type laneName struct {
	queue    string
	priority task.Priority
}

func (t *laneTable) id(ctx context.Context, queue string, p task.Priority) (int32, error) {
	if v, ok := t.ids.Load(laneName{queue, p}); ok {
		return v.(int32), nil
	}
	lane, err := t.store.EnsureLane(ctx, queue, p)
	if err != nil {
		return 0, err
	}
	t.ids.Store(laneName{queue, p}, lane.ID)
	return lane.ID, nil
}
