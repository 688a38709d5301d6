package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/taskweir/taskweir/internal/failpoint"
	"github.com/taskweir/taskweir/internal/task"
)

// idempotencyMs is how long an idempotency key is remembered.
const idempotencyMs = 24 * 3_600_000

// submit is one flush on its way into the database. Everything that a repetition must forget is set anew by begin.
type submit struct {
	s      *Store
	reqs   []*task.Request
	asked  [][]int64 // ItemIDs as the caller sent them, by request: a replay overwrites them
	now    int64
	bellID int64 // first of as many ids as the flush can need
	writer int64
	sizes  *laneSizes
	alone  map[instant]int // future instants: how many of the flush's tasks are rung alone

	todo    []*task.Submission // of requests that are neither replays nor refused
	created []*task.Submission
	bells   []task.Bell // start bells
	expires []task.Bell
	used    int64 // bell ids
}

// Submit writes one flush: all requests in one transaction, at most task.MaxFlushTasks tasks. It sets the results on
// requests and submissions and gives the new start bells. An error that is neither Unavailable nor an unknown outcome
// belongs to some task of the flush.
//
// When the connection dies at COMMIT a task id of the flush is looked up, because its bell may be claimed and gone.
func (s *Store) Submit(ctx context.Context, reqs []*task.Request) ([]task.Bell, error) {
	u, err := s.newSubmit(ctx, reqs)
	if err != nil {
		return nil, err
	}
	err = s.writeSettled(failpoint.In(ctx, failpoint.SubmitAnswer), u.run, u.committed)
	if duplicate(err) && u.parts() {
		err = s.writeSettled(failpoint.In(ctx, failpoint.SubmitAnswer), u.run, u.committed) // another replay of the batch was first: its items are there now
	}
	if err != nil {
		return nil, u.failed(err)
	}
	s.metrics.Submitted(len(u.created))
	s.metrics.Flush("submit", len(u.created))
	return u.bells, nil
}

// newSubmit takes what a flush needs before its transaction: the bell sizes, its part of the tasks that are rung alone, and
// ids for its bells.
func (s *Store) newSubmit(ctx context.Context, reqs []*task.Request) (*submit, error) {
	u := &submit{s: s, reqs: reqs, now: s.now(), writer: s.statsWriter(), asked: make([][]int64, len(reqs))}
	var err error
	if u.sizes, err = s.bellSizes(ctx); err != nil {
		return nil, s.interpret(err)
	}
	tasks, delayed := 0, 0
	u.alone = map[instant]int{}
	for i, r := range reqs {
		if r.Idem != nil {
			u.asked[i] = slices.Clone(r.Idem.ItemIDs)
		}
		tasks += len(r.Tasks)
		for _, sub := range r.Tasks {
			if sub.ID <= 0 {
				return nil, errors.New("submit: a task without an id")
			}
			if sub.ExpiresAt != 0 {
				delayed++
			}
			if sub.Flags.Has(task.HasCompletion) {
				if err := s.prepareCompletions(ctx); err != nil {
					return nil, err
				}
			}
			if at := u.due(sub); at > u.now {
				u.alone[u.instantOf(sub)]++
			}
		}
	}
	s.instants.take(u.alone, u.now)
	if tasks > task.MaxFlushTasks {
		return nil, fmt.Errorf("submit: %d tasks in one flush", tasks)
	}
	u.bellID, err = s.runIDs(ctx, u.bellsAtMost(delayed))
	return u, err
}

// bellsAtMost is how many bells the flush can need: planned as if every task was created.
func (u *submit) bellsAtMost(withExpiry int) int {
	all := make([]*task.Submission, 0, task.MaxFlushTasks)
	for _, r := range u.reqs {
		all = append(all, r.Tasks...)
	}
	n := len(u.group(all, task.StartBell))
	if withExpiry > 0 {
		n += len(u.group(all, task.ExpireBell))
	}
	// Tasks that are refused can split a group (rounds of equal unique keys), never into more bells than tasks.
	for _, sub := range all {
		if sub.Unique != nil {
			return len(all) + withExpiry + 1
		}
	}
	return n + 1
}

// parts reports whether the flush holds later parts of a batch or items of a replayed one.
func (u *submit) parts() bool {
	return slices.ContainsFunc(u.reqs, func(r *task.Request) bool { return r.Idem != nil && !r.Idem.First })
}

// run is the transaction.
func (u *submit) run(ctx context.Context, t tx) error {
	u.begin()
	if err := u.idempotency(ctx, t); err != nil {
		return err
	}
	if err := u.skipExisting(ctx, t); err != nil {
		return err
	}
	var set statSet
	if err := u.insert(ctx, t, &set); err != nil {
		return err
	}
	if err := u.forgetRefused(ctx, t); err != nil {
		return err
	}
	return u.s.addStats(ctx, t, u.now, u.writer, &set)
}

// insert writes what is to do, in rounds of different unique keys, and counts what was created.
func (u *submit) insert(ctx context.Context, t tx, set *statSet) error {
	for rest := u.todo; len(rest) > 0; {
		var round []*task.Submission
		round, rest = u.round(rest)
		if err := u.insertRound(ctx, t, round, set); err != nil {
			return err
		}
	}
	for _, sub := range u.created {
		set.of(sub.AppID, sub.LaneID, sub.KindID).submitted++
	}
	return nil
}

func (u *submit) begin() {
	u.todo, u.created, u.bells, u.expires, u.used = u.todo[:0], u.created[:0], nil, nil, 0
	for i, r := range u.reqs {
		r.Replayed, r.Err = false, nil
		if r.Idem != nil {
			r.Idem.ItemIDs = u.asked[i]
		}
		for _, sub := range r.Tasks {
			sub.Created, sub.Kept, sub.TaskID, sub.Err = false, false, 0, nil
		}
	}
}

// due is when a submission is due: the past is now.
func (u *submit) due(sub *task.Submission) int64 {
	if sub.DueAt > 0 {
		return max(sub.DueAt, u.now)
	}
	return u.now + max(sub.DelayMs, 0)
}

// round splits off the submissions whose unique keys differ. The others come after them, when the first ones' rows are
// there: a flush in which keys meet gives what one flush per task would have given. Those that only look at their key may
// meet each other.
func (u *submit) round(todo []*task.Submission) (now, later []*task.Submission) {
	var seen map[[32]byte]bool // true: all of them only look
	for i, sub := range todo {
		if sub.Unique == nil {
			if later != nil {
				now = append(now, sub)
			}
			continue
		}
		if seen == nil {
			seen = make(map[[32]byte]bool, len(todo))
		}
		looks := u.looks(sub)
		looked, met := seen[sub.Unique.Key]
		switch {
		case met && !(looked && looks):
			if later == nil {
				now = slices.Clone(todo[:i])
			}
			later = append(later, sub)
			seen[sub.Unique.Key] = false // who comes now comes after this one
			continue
		case !met:
			seen[sub.Unique.Key] = looks
		}
		if later != nil {
			now = append(now, sub)
		}
	}
	if later == nil {
		return todo, nil
	}
	return now, later
}

// insertRound takes the unique keys of submissions and writes those that got theirs.
func (u *submit) insertRound(ctx context.Context, t tx, subs []*task.Submission, set *statSet) error {
	subs = u.checkExpiry(subs)
	if err := u.unique(ctx, t, subs, set); err != nil {
		return err
	}
	ok := subs[:0:0]
	for _, sub := range subs {
		if sub.Err == nil && !sub.Kept {
			ok = append(ok, sub)
		}
	}
	if len(ok) == 0 {
		return nil
	}
	slices.SortFunc(ok, func(a, b *task.Submission) int { return cmpInt(a.ID, b.ID) })
	if err := u.insertTasks(ctx, t, ok); err != nil {
		return err
	}
	for _, sub := range ok {
		sub.Created, sub.TaskID = true, sub.ID
		sub.CreatedAt, sub.DueAt = u.now, u.due(sub)
	}
	u.created = append(u.created, ok...)
	return nil
}

// checkExpiry refuses what could never start (I1: no waiting task has expires_at <= due_at).
func (u *submit) checkExpiry(subs []*task.Submission) []*task.Submission {
	bad := func(sub *task.Submission) bool { return sub.ExpiresAt != 0 && sub.ExpiresAt <= u.due(sub) }
	if !slices.ContainsFunc(subs, bad) {
		return subs
	}
	ok := make([]*task.Submission, 0, len(subs))
	for _, sub := range subs {
		if bad(sub) {
			sub.Err = task.InvalidField("expiresAt", "range", "must be after the task is due")
			continue
		}
		ok = append(ok, sub)
	}
	return ok
}

// committed looks a flush of unknown outcome up.
func (u *submit) committed(ctx context.Context) (found bool, err error) {
	if len(u.created) == 0 {
		return false, nil // nothing depends on it: it is asked again
	}
	query := newText(2).s("SELECT 1 FROM tasks").s(u.s.force()).s(" WHERE id=").n(u.created[0].ID).s(u.s.shared()).String()
	var one int
	err = u.s.db.QueryRowContext(ctx, query).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// failed is what the caller hears. An id that is in use (the ids went back: a restored database) is no task's fault: the
// block is thrown away, the next try takes other ids.
func (u *submit) failed(err error) error {
	if duplicate(err) {
		u.s.taskIDs.drop()
		u.s.runs.drop()
		return task.Gone("id_in_use", err)
	}
	return u.s.interpret(err)
}
