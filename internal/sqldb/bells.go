package sqldb

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// The bits of bells.direct.
const (
	directBit = 1 // its writer rings it
	keyedBit  = 2 // some task of it may hold a unique key until it is started: the claim looks for them
)

// directWithin is how far ahead a writer keeps the timer of its bell itself (protocol section 3, "Short delays").
const directWithin = 2_000

// insertBells writes new bell rows. Bells without tasks are left out.
func insertBells(ctx context.Context, t tx, bells []task.Bell) error {
	for len(bells) > 0 {
		part := bells[:min(len(bells), maxList)]
		bells = bells[len(part):]
		if query := insertBellsSQL(part); query != "" {
			if err := t.add(ctx, query); err != nil {
				return err
			}
		}
	}
	return nil
}

func insertBellsSQL(bells []task.Bell) string {
	listed := 0
	for i := range bells {
		listed += len(bells[i].TaskIDs)
	}
	if listed == 0 {
		return ""
	}
	x := newText(listed + 8*len(bells)).
		s("INSERT INTO bells (id,kind,shard,lane_id,app_id,epoch,due_at,direct,n,flow,task_ids) VALUES ")
	first := true
	for i := range bells {
		b := &bells[i]
		if len(b.TaskIDs) == 0 {
			continue
		}
		var bits int64
		if b.Direct {
			bits |= directBit
		}
		if b.Keyed {
			bits |= keyedBit
		}
		x.row(first, b.ID, int64(b.Kind), int64(task.ShardOf(b.LaneID)), int64(b.LaneID), int64(b.AppID), int64(b.Epoch),
			b.DueAt, bits, int64(len(b.TaskIDs)), b.Flow)
		x.b = x.b[:len(x.b)-1]
		x.s(",'").ids(b.TaskIDs).s("')")
		first = false
	}
	return x.String()
}

// bellColumns is what scanBell reads, before what else is asked for.
const bellColumns = "id,kind,lane_id,app_id,epoch,due_at,direct,flow,task_ids"

func scanBell(rows *sql.Rows, more ...any) (task.Bell, error) {
	var b task.Bell
	var bits int
	var list sql.RawBytes
	err := rows.Scan(append([]any{&b.ID, &b.Kind, &b.LaneID, &b.AppID, &b.Epoch, &b.DueAt, &bits, &b.Flow, &list}, more...)...)
	b.Direct, b.Keyed = bits&directBit != 0, bits&keyedBit != 0
	b.TaskIDs = appendParsed(nil, []byte(list))
	return b, err
}

// again is a task that goes back to wait.
type again struct {
	id, dueAt        int64
	lane, app, epoch int32
	bell             task.BellKind // without regard to the flow
	flow             int64
	keyed            bool
}

// bellsFor groups tasks that wait again into new bells of equal (lane, app, epoch, due, kind of bell, flow), none larger than its lane's bell
// size, and gives each task, in the order of its id, the bell that holds it. ids are the new bell ids, as many as tasks at
// most are needed. It sorts waits by id.
func (s *Store) bellsFor(waits []again, now, firstID int64, sizes *laneSizes) (bells []task.Bell, holders []int64) {
	slices.SortFunc(waits, func(a, b again) int { return cmpInt(a.id, b.id) })
	holders = make([]int64, len(waits))
	type place struct {
		dueAt            int64
		lane, app, epoch int32
		kind             task.BellKind
		flow             int64
	}
	open := make(map[place]int, 8)
	for i := range waits {
		w := &waits[i]
		kind, flow := w.bell, w.flow
		if !kind.Starts() {
			flow = 0
		}
		kind = kind.WithFlow(flow)
		p := place{w.dueAt, w.lane, w.app, w.epoch, kind, flow}
		at, ok := open[p]
		if !ok || len(bells[at].TaskIDs) >= sizes.forBell(w.lane, kind) {
			at = len(bells)
			open[p] = at
			bells = append(bells, task.Bell{ID: firstID + int64(at), Kind: kind, LaneID: w.lane, AppID: w.app, Epoch: w.epoch, Flow: flow,
				DueAt: w.dueAt, Limited: s.limited(w.lane, w.app, flow)})
			bells[at].Direct = w.dueAt <= now+directWithin && !bells[at].Limited
		}
		b := &bells[at]
		b.TaskIDs = append(b.TaskIDs, w.id)
		b.Keyed = b.Keyed || w.keyed
		holders[i] = b.ID
	}
	return bells, holders
}

func cmpInt(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// laneSizes is what decides about new bells: the bell size of every lane, and which kind is that of commands, as read lately.
type laneSizes struct {
	read  time.Time // monotonic
	sizes map[int32]int
	shell int32 // the kind of commands; 0: not known
}

// of is a lane's bell size; 1, the careful size, for a lane that was made after the reading.
func (l *laneSizes) of(lane int32) int {
	if n := l.sizes[lane]; n > 0 {
		return min(n, task.MaxBellTasks)
	}
	return 1
}

// forBell is the size of a lane's bells of one kind. Commands have few slots and take long: each has its own bell, so that no
// worker holds what another has a slot for.
func (l *laneSizes) forBell(lane int32, kind task.BellKind) int {
	switch kind {
	case task.ShellBell, task.FlowShellBell:
		return 1
	case task.ExpireBell, task.DeadlineBell:
		return task.MaxBellTasks
	}
	return l.of(lane)
}

// bellKind is the kind of bell that starts tasks of a kind. Before the kind of commands is known a plain bell does: it is a
// matter of fairness only.
func (l *laneSizes) bellKind(kindID int32) task.BellKind {
	if l.shell != 0 && l.shell == kindID {
		return task.ShellBell
	}
	return task.StartBell
}

// laneSizesFor is how long a reading of the lanes' bell sizes is used.
const laneSizesFor = time.Second

// bellSizes gives the lanes' bell sizes, read again after a second. An older reading is used while the database cannot
// be read: the size is a matter of speed only.
func (s *Store) bellSizes(ctx context.Context) (*laneSizes, error) {
	s.hearOfLimits(ctx)
	old := s.engine.sizes.Load()
	if old != nil && time.Since(old.read) < laneSizesFor && old.shell == s.kinds.shell.Load() {
		return old, nil
	}
	fresh := &laneSizes{read: time.Now(), sizes: map[int32]int{}}
	if s.kinds.shell.Load() == 0 {
		_, _ = s.Kinds(ctx) // a failure shows in the reading below
	}
	fresh.shell = s.kinds.shell.Load()
	err := s.readEach(ctx, "SELECT id,bell_size FROM lanes", func(rows *sql.Rows) error {
		var id int32
		var size int
		err := rows.Scan(&id, &size)
		fresh.sizes[id] = size
		return err
	})
	if err != nil {
		if old != nil {
			return old, nil
		}
		return nil, err
	}
	s.engine.sizes.Store(fresh)
	return fresh, nil
}
