package control

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

// BatchItem is the answer for one task of a batch: Submitted or Err.
type BatchItem struct {
	Submitted
	Err error
}

// batch is one SubmitBatch under way.
type batch struct {
	s     *Service
	p     Principal
	ins   []*Input
	subs  []*task.Submission // nil: refused before
	items []BatchItem
	idem  *task.Idempotency // nil: none

	replayed bool // the idempotency key was known
}

// SubmitBatch stores up to 1,000 tasks and answers each in order; one that is refused does not hold up the others. An
// error for the whole means that nothing was stored, or code outcome_unknown. replayed says that the idempotency key was
// known. Needs scope submit.
func (s *Service) SubmitBatch(ctx context.Context, p Principal, ins []*Input, idem *IdempotencyKey) (items []BatchItem, replayed bool, err error) {
	if err := s.maySubmit(p, idem); err != nil {
		return nil, false, err
	}
	if len(ins) < 1 || len(ins) > MaxBatch {
		return nil, false, task.InvalidField("tasks", "items", fmt.Sprintf("must have 1 … %d entries", MaxBatch))
	}
	b := &batch{s: s, p: p, ins: ins, subs: make([]*task.Submission, len(ins)), items: make([]BatchItem, len(ins))}
	if idem != nil {
		if err := b.remember(ctx, idem); err != nil {
			return nil, false, err
		}
	}
	todo, err := b.prepare(ctx)
	if err != nil {
		return nil, false, err
	}
	if err := b.store(ctx, todo); err != nil {
		return nil, false, err
	}
	if err := b.wholeError(); err != nil {
		return nil, false, err
	}
	return b.items, b.replayed, b.fill(ctx)
}

// remember takes the ids of all items before anything is stored, so that the first transaction can write them with the
// key.
func (b *batch) remember(ctx context.Context, idem *IdempotencyKey) error {
	first, err := b.s.store.TaskIDs(ctx, len(b.ins))
	if err != nil {
		return err
	}
	ids := make([]int64, len(b.ins))
	for i := range ids {
		ids[i] = first + int64(i)
		b.ins[i].id = ids[i]
	}
	b.idem = &task.Idempotency{Key: task.IdempotencyHash(b.p.App.ID, idem.Key), Body: idem.Body, ItemIDs: ids, First: true}
	return nil
}

// prepare checks every item and gives the indices of those that may be stored.
func (b *batch) prepare(ctx context.Context) (todo []int, err error) {
	type slot struct {
		sub    task.Submission
		unique task.Unique
	}
	slots := make([]slot, len(b.ins))
	for i, in := range b.ins {
		_, err := b.s.prepare(ctx, &b.p, in, &slots[i].sub, &slots[i].unique)
		if err == nil {
			b.subs[i] = &slots[i].sub
			todo = append(todo, i)
			continue
		}
		if k := task.KindOf(err); k != task.Invalid && k != task.TooLarge {
			return nil, err
		}
		b.items[i].Err = inItem(err, i)
	}
	if len(todo) == 0 && b.idem != nil {
		return nil, b.replayRefused(ctx)
	}
	return todo, nil
}

// replayRefused looks whether a batch of which nothing may be stored now is the replay of one that was.
func (b *batch) replayRefused(ctx context.Context) error {
	known, ok, err := b.s.store.Remembered(ctx, b.idem.Key)
	if err != nil || !ok {
		return err
	}
	if known.Body != b.idem.Body || len(known.ItemIDs) != len(b.ins) {
		return errKeyReused
	}
	return b.replay(ctx, known.ItemIDs)
}

// inItem puts the item's place before the fields of an error.
func inItem(err error, i int) error {
	var e *task.Error
	if !errors.As(err, &e) || len(e.Fields) == 0 {
		return err
	}
	c := *e
	c.Fields = slices.Clone(e.Fields)
	for j := range c.Fields {
		name := fmt.Sprintf("tasks[%d]", i)
		if c.Fields[j].Field != "" {
			name += "." + c.Fields[j].Field
		}
		c.Fields[j].Field = name
	}
	return &c
}

// store commits items in parts that fit a flush. The first part that creates a task writes the idempotency key; the
// others then go at once.
func (b *batch) store(ctx context.Context, todo []int) error {
	parts := b.cut(todo)
	for b.idem != nil && b.idem.First && len(parts) > 0 {
		if err := b.storeFirst(ctx, parts[0]); err != nil || b.replayed {
			return err
		}
		parts = parts[1:]
	}
	return b.storeParts(ctx, parts)
}

// cut divides items into parts that fit a flush.
func (b *batch) cut(todo []int) (parts [][]int) {
	size, part := 0, []int(nil)
	for _, i := range todo {
		n := len(b.subs[i].Body) + rowBytes
		if len(part) == task.MaxFlushTasks || len(part) > 0 && size+n > task.MaxFlushBytes {
			parts, part, size = append(parts, part), nil, 0
		}
		part, size = append(part, i), size+n
	}
	if len(part) > 0 {
		parts = append(parts, part)
	}
	return parts
}

func (b *batch) pending(part []int) *pending {
	subs := make([]*task.Submission, len(part))
	for k, i := range part {
		subs[k] = b.subs[i]
	}
	pd := newPending(b.p.App.ID, subs...)
	pd.req.Idem = b.idem
	return pd
}

// storeFirst commits one part with the idempotency key. Once a task of it is created the key is remembered.
func (b *batch) storeFirst(ctx context.Context, part []int) error {
	pd := b.pending(part)
	if err := b.s.commit(ctx, pd); err != nil {
		return err
	}
	if pd.req.Err != nil {
		return pd.req.Err
	}
	if pd.req.Replayed {
		return b.replay(ctx, pd.req.Idem.ItemIDs)
	}
	for _, i := range part {
		b.take(i)
	}
	b.idem = later(b.idem, anyCreated(pd.req.Tasks))
	return nil
}

// storeParts commits parts that write no idempotency key, all at once. Parts that find no room are refused, each item for
// itself: earlier parts may be stored.
func (b *batch) storeParts(ctx context.Context, parts [][]int) error {
	ps := make([]*pending, len(parts))
	for k, part := range parts {
		ps[k] = b.pending(part)
	}
	if err := b.s.commit(ctx, ps...); err != nil {
		if task.CodeOf(err) == "outcome_unknown" {
			return err
		}
		for _, part := range parts {
			for _, i := range part {
				b.items[i].Err = err
			}
		}
		return nil
	}
	for k, part := range parts {
		blame(&ps[k].req)
		for _, i := range part {
			b.take(i)
		}
	}
	return nil
}

// take reads the outcome of one item. A zero View.ID stands for a task that fill has to read.
func (b *batch) take(i int) {
	t, it := b.subs[i], &b.items[i]
	switch it.Err = t.Err; {
	case t.Err != nil:
	case t.Created:
		it.View = viewOf(b.p, b.ins[i], t)
	default:
		it.Kept = t.Kept
	}
}

// replay answers a known request with its tasks as they are now and stores those that are missing.
func (b *batch) replay(ctx context.Context, ids []int64) error {
	if len(ids) != len(b.ins) {
		return errKeyReused
	}
	b.replayed = true
	c := *b.idem
	c.First, c.ItemIDs = false, ids
	b.idem = &c
	missing, err := b.readBack(ctx, ids)
	if err != nil || len(missing) == 0 {
		return err
	}
	for _, i := range missing {
		*b.subs[i] = withID(*b.subs[i], ids[i])
	}
	return b.storeParts(ctx, b.cut(missing))
}

func withID(t task.Submission, id int64) task.Submission {
	t.ID, t.Created, t.Kept, t.TaskID, t.Err = id, false, false, 0, nil
	return t
}

// readBack fills in the items whose row is there and gives those that may be stored and are not.
func (b *batch) readBack(ctx context.Context, ids []int64) (missing []int, err error) {
	views, err := b.s.views(ctx, b.p, ids)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		if v, ok := views[id]; ok {
			b.items[i] = BatchItem{Submitted: Submitted{View: v, Replayed: true}}
		} else if b.subs[i] != nil {
			missing = append(missing, i)
		}
	}
	return missing, nil
}

// wholeError is the answer when nothing at all could be stored for want of the database.
func (b *batch) wholeError() error {
	var first error
	for _, it := range b.items {
		if it.Err == nil {
			return nil
		}
		if task.KindOf(it.Err) == task.Unavailable && first == nil {
			first = it.Err
		}
	}
	return first
}

// fill reads the tasks that were kept: they were there before.
func (b *batch) fill(ctx context.Context) error {
	var ids []int64
	for i, it := range b.items {
		if it.Err == nil && it.View.ID == 0 {
			ids = append(ids, b.subs[i].TaskID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	views, err := b.s.views(ctx, b.p, ids)
	if err != nil {
		return err
	}
	for i := range b.items {
		if it := &b.items[i]; it.Err == nil && it.View.ID == 0 {
			v, ok := views[b.subs[i].TaskID]
			if !ok {
				it.Err = task.Missing("task")
			}
			it.View = v
		}
	}
	return nil
}
