package sqldb

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/taskweir/taskweir/internal/task"
)

// What a lane starts with, until its owner has measured it.
const (
	firstCredit   = 16
	firstBellSize = 16
)

// lanePaused is the value of lanes.mode for a paused lane; 0 is open.
const lanePaused = 1

const laneColumns = "SELECT id,queue,priority,mode,credit,bell_size FROM lanes"

// Lanes lists every lane.
func (s *Store) Lanes(ctx context.Context) ([]task.Lane, error) {
	var out []task.Lane
	err := s.readEach(ctx, laneColumns+" ORDER BY id", func(rows *sql.Rows) error {
		l, err := scanLane(rows)
		out = append(out, l)
		return err
	})
	if err == nil {
		s.lanes.set(out)
	}
	return out, err
}

func scanLane(rows *sql.Rows) (l task.Lane, err error) {
	var mode int
	err = rows.Scan(&l.ID, &l.Queue, &l.Priority, &mode, &l.Credit, &l.BellSize)
	l.Paused = mode == lanePaused
	return l, err
}

// lane gives a lane by its id, from memory when it was ever read.
func (s *Store) lane(ctx context.Context, id int32) (task.Lane, error) {
	if l, ok := s.lanes.byID(id); ok {
		return l, nil
	}
	if _, err := s.Lanes(ctx); err != nil {
		return task.Lane{}, err
	}
	l, _ := s.lanes.byID(id)
	return l, nil
}

// EnsureLane gives the lane of (queue, priority), made at first use: paused if its queue is.
func (s *Store) EnsureLane(ctx context.Context, queue string, p task.Priority) (task.Lane, error) {
	name := laneName{queue, p}
	if l, ok := s.lanes.get(name); ok {
		return l, nil
	}
	lanes, err := s.Lanes(ctx)
	if err != nil {
		return task.Lane{}, err
	}
	if l, ok := s.lanes.get(name); ok {
		return l, nil
	}
	if err := roomFor(queue, lanes); err != nil {
		return task.Lane{}, err
	}
	id, err := s.allocate(ctx, "lane", 1)
	if err != nil {
		return task.Lane{}, err
	}
	var lane task.Lane
	err = s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		lane, err = s.makeLane(ctx, t, int32(id), name)
		return err
	})
	if err != nil {
		return task.Lane{}, s.interpret(err)
	}
	s.lanes.add(lane)
	return lane, nil
}

// MaxQueues bounds the queues of an installation. A queue costs every worker up to three connections to each nsqd for as
// long as it exists, and queues are made by their first use: without a bound one client's mistake could use up the files
// of all workers. Processes that make queues at the same moment may go past it by a few.
const MaxQueues = 200

// roomFor refuses a new queue beyond MaxQueues, but for the system's own.
func roomFor(queue string, lanes []task.Lane) error {
	if queue == task.SystemQueue {
		return nil
	}
	queues := map[string]struct{}{}
	for _, l := range lanes {
		if l.Queue == queue {
			return nil
		}
		queues[l.Queue] = struct{}{}
	}
	if len(queues) < MaxQueues {
		return nil
	}
	return task.InvalidField("queue", "max_count", fmt.Sprintf("must be one of the %d queues that exist: there may not be more", len(queues)))
}

// makeLane inserts the queue's row first: its lock keeps a pause of the queue from missing the new lane.
func (s *Store) makeLane(ctx context.Context, t tx, id int32, name laneName) (lane task.Lane, err error) {
	if _, err := t.exec(ctx, s.insertIgnore()+" INTO queues (name,paused) VALUES (?,0)", name.queue); err != nil {
		return lane, err
	}
	paused, err := scanInt(ctx, t, "SELECT paused FROM queues WHERE name=?", name.queue)
	if err != nil {
		return lane, err
	}
	if _, err := t.exec(ctx, s.insertIgnore()+" INTO lanes (id,queue,priority,mode,credit,bell_size) VALUES (?,?,?,?,?,?)",
		id, name.queue, int(name.priority), paused*lanePaused, firstCredit, firstBellSize); err != nil {
		return lane, err
	}
	rows, err := t.query(ctx, laneColumns+" WHERE queue=? AND priority=?", name.queue, int(name.priority))
	found := false
	err = eachRow(rows, err, func(rows *sql.Rows) error {
		found = true
		lane, err = scanLane(rows)
		return err
	})
	if err == nil && !found {
		err = fmt.Errorf("lane %s: not there after its insert", name.queue)
	}
	return lane, err
}

// SetQueuePaused pauses or resumes every lane of a queue, also those made later. Missing when there is no such queue.
func (s *Store) SetQueuePaused(ctx context.Context, queue string, paused bool) error {
	return s.setLimits(ctx, func(ctx context.Context, t tx) error {
		if _, err := s.changeLimit(ctx, t, queueLimit(queue), func(l *task.Limit) { l.Paused = paused }); err != nil {
			return err
		}
		if err := s.pauseLanes(ctx, t, queue, paused); err != nil {
			return err
		}
		return s.note(ctx, t)
	})
}

// Kinds lists every kind ever declared.
func (s *Store) Kinds(ctx context.Context) ([]task.KindRow, error) {
	var out []task.KindRow
	err := s.readEach(ctx, "SELECT id,name FROM kinds ORDER BY id", func(rows *sql.Rows) error {
		var k task.KindRow
		err := rows.Scan(&k.ID, &k.Name)
		out = append(out, k)
		return err
	})
	if err == nil {
		s.kinds.set(out)
	}
	return out, err
}

// kindName gives a kind's name, from memory when it was ever read.
func (s *Store) kindName(ctx context.Context, id int32) (string, error) {
	if n, ok := s.kinds.get(id); ok {
		return n, nil
	}
	if _, err := s.Kinds(ctx); err != nil {
		return "", err
	}
	n, _ := s.kinds.get(id)
	return n, nil
}

// DeclareKinds makes kinds known, for ever, and gives the ids of all of them by name.
func (s *Store) DeclareKinds(ctx context.Context, names []string) (map[string]int32, error) {
	ids, missing, err := s.lookUpKinds(ctx, names)
	if err != nil || len(missing) == 0 {
		return ids, err
	}
	first, err := s.allocate(ctx, "kind", int64(len(missing)))
	if err != nil {
		return nil, err
	}
	err = s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		for i, name := range missing {
			if _, err := t.exec(ctx, s.insertIgnore()+" INTO kinds (id,name) VALUES (?,?)", first+int64(i), name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	ids, missing, err = s.lookUpKinds(ctx, names)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("kind %q: not there after its insert", missing[0])
	}
	return ids, err
}

func (s *Store) lookUpKinds(ctx context.Context, names []string) (ids map[string]int32, missing []string, err error) {
	all, err := s.Kinds(ctx)
	if err != nil {
		return nil, nil, err
	}
	byName := make(map[string]int32, len(all))
	for _, k := range all {
		byName[k.Name] = k.ID
	}
	ids = make(map[string]int32, len(names))
	for _, n := range names {
		if id, ok := byName[n]; ok {
			ids[n] = id
		} else if _, twice := ids[n]; !twice {
			missing = append(missing, n)
		}
	}
	return ids, missing, nil
}
