package scheduler

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// kindsAgain is the least time between two readings of the kinds.
const kindsAgain = time.Second

// kindSet is what the live workers of a queue run, by id. Kinds that are not in it as true or false are not known here.
type kindSet struct {
	ids  map[int32]bool // true: some worker runs it
	name map[int32]string
}

// none reports that no worker runs any of the items, and names a kind. It is false in doubt: when there are no items or a
// kind is not known.
func (k *kindSet) none(items []task.Item) (kind string, none bool) {
	for _, it := range items {
		if run, known := k.ids[it.KindID]; run || !known {
			return "", false
		}
		kind = k.name[it.KindID]
	}
	return kind, len(items) > 0
}

// runs gives what the live workers of a queue run; nil when nothing is to be left out: there are none, which is not a
// matter of kinds, or one of them does not say what it runs.
func (v *view) runs(ctx context.Context, queue string) *kindSet {
	workers, names := v.workers.Load(), v.kindNames(ctx)
	if set, ok := workers.sets.Load(queue); ok {
		if set := set.(*kindSet); set == nil || len(set.ids) == len(names) {
			return set
		}
	}
	set := workers.kindSet(queue, names)
	workers.sets.Store(queue, set)
	return set
}

func (v *workersView) kindSet(queue string, names map[int32]string) *kindSet {
	serving := v.serving(queue)
	run := make(map[string]bool)
	for _, w := range serving {
		if len(w.Info.Kinds) == 0 {
			return nil
		}
		for _, kind := range w.Info.Kinds {
			run[kind] = true
		}
	}
	if len(serving) == 0 {
		return nil
	}
	set := &kindSet{ids: make(map[int32]bool, len(names)), name: names}
	for id, name := range names {
		set.ids[id] = run[name]
	}
	return set
}

// kindNames gives the kinds as read lately. While they cannot be read, the last reading does: kinds never change, and one
// that is not known holds nothing back.
func (v *view) kindNames(ctx context.Context) map[int32]string {
	v.kinds.Lock()
	defer v.kinds.Unlock()
	if now := time.Now(); v.kinds.at.IsZero() || now.Sub(v.kinds.at) >= kindsAgain {
		v.kinds.at = now
		ctx, cancel := v.s.query(ctx)
		defer cancel()
		if rows, err := v.s.o.Store.Kinds(ctx); err == nil && len(rows) != len(v.kinds.names) {
			names := make(map[int32]string, len(rows))
			for _, k := range rows {
				names[k.ID] = k.Name
			}
			v.kinds.names = names
		}
	}
	return v.kinds.names
}
