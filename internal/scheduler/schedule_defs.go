package scheduler

import (
	"context"
	"sync"

	"github.com/taskweir/taskweir/internal/schedule"
)

const (
	defsMost  = 8_192    // timetables of one generation,
	defsBytes = 16 << 20 // … and bytes of their definitions
	defsRead  = 50       // definitions read at once: a definition may be 256 KiB
	defWeight = 1 << 10  // what a timetable weighs beside the text of its definition
)

// definitions keeps timetables by schedule and version. It holds two generations: what is used moves to the younger one, and
// when that is full the older one is forgotten. So memory is bounded, and what fires often stays.
type definitions struct {
	store ScheduleStore

	mu         sync.Mutex
	young, old map[int64]definition
	bytes      int // of young
}

type definition struct {
	version int64
	table   *schedule.Timetable
	bytes   int
}

func newDefinitions(store ScheduleStore) *definitions {
	return &definitions{store: store, young: map[int64]definition{}}
}

// get gives the timetable of this version of a schedule, nil when it is not known.
func (d *definitions) get(id, version int64) *schedule.Timetable {
	d.mu.Lock()
	defer d.mu.Unlock()
	if def, ok := d.young[id]; ok && def.version == version {
		return def.table
	}
	if def, ok := d.old[id]; ok && def.version == version {
		d.put(id, def)
		return def.table
	}
	return nil
}

func (d *definitions) put(id int64, def definition) {
	if len(d.young) >= defsMost || d.bytes+def.bytes > defsBytes {
		d.old, d.young, d.bytes = d.young, make(map[int64]definition), 0
	}
	d.bytes += def.bytes - d.young[id].bytes
	d.young[id] = def
}

// learn compiles the definition of a whole row, unless it is known. Its error is the row's own fault.
func (d *definitions) learn(r *schedule.Row) (*schedule.Timetable, error) {
	if t := d.get(r.ID, r.Version); t != nil {
		return t, nil
	}
	def, err := schedule.DecodeDefinition(r.Definition)
	if err != nil {
		return nil, err
	}
	table, err := schedule.Compile(def)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.put(r.ID, definition{r.Version, table, len(r.Definition) + defWeight})
	return table, nil
}

// load reads rows whole and learns them; spoilt is told of those whose definitions are none.
func (d *definitions) load(ctx context.Context, ids []int64, spoilt func(schedule.Row, error)) ([]schedule.Row, error) {
	var out []schedule.Row
	for len(ids) > 0 {
		n := min(len(ids), defsRead)
		rows, err := d.store.Schedules(ctx, ids[:n])
		if err != nil {
			return out, err
		}
		ids = ids[n:]
		for i := range rows {
			if _, err := d.learn(&rows[i]); err != nil {
				spoilt(rows[i], err)
				continue
			}
			rows[i].Definition = nil
			out = append(out, rows[i])
		}
	}
	return out, nil
}
