package sqldb

import (
	"context"
	"database/sql"
	"math"

	"github.com/taskweir/taskweir/internal/task"
)

// bellSource reads the start bells of one (lane, app) in due order, some at a time.
type bellSource struct {
	lane, app int32
	kind      task.BellKind
	at        cursor // the last bell that was read
	bells     []task.Bell
	done      bool
}

// walkBells lists waiting tasks in due order, merged from the (lane, app) pairs that have any. A task counts where its
// holder lists it: listings that a retry or a run-now left behind are passed over.
func (l *list) walkBells(ctx context.Context, at cursor) (string, error) {
	pairs, err := l.s.duePairsOf(ctx, l.f.AppID)
	if err != nil {
		return "", err
	}
	var sources []*bellSource
	for _, p := range pairs {
		if l.lanes == nil || l.lanes[p.LaneID] {
			start := at
			if l.shown > 0 && start.due <= l.now { // nothing that is due already
				start = cursor{mode: byDue, due: l.now + 1}
			}
			sources = append(sources, &bellSource{lane: p.LaneID, app: p.AppID, kind: p.Kind, at: start})
		}
	}
	for on := true; on; on = l.more() {
		batch, more, err := l.dueBatch(ctx, sources, at)
		if err != nil {
			return "", err
		}
		seen, err := l.keep(ctx, batch.ids, batch.bells)
		if err != nil {
			return "", err
		}
		if seen > 0 {
			at = cursor{mode: byDue, id: batch.ids[seen-1], due: batch.dues[seen-1], bell: batch.bells[seen-1]}
		}
		switch {
		case seen < len(batch.ids), more && len(l.ids) == l.f.Limit:
			return at.encode(), nil
		case !more:
			return "", nil
		}
	}
	return at.encode(), nil
}

// listings are tasks in due order with the bells that list them.
type listings struct{ ids, bells, dues []int64 }

// dueBatch takes the next tasks over all sources: about listStep, whole bells. more is false at the end.
func (l *list) dueBatch(ctx context.Context, sources []*bellSource, at cursor) (out listings, more bool, err error) {
	for len(out.ids) < listStep && l.budget > 0 {
		b, err := l.nextBell(ctx, sources)
		if err != nil || b == nil {
			return out, false, err
		}
		l.budget--
		for _, id := range sortedIDs(b.TaskIDs) {
			if b.DueAt == at.due && b.ID == at.bell && id <= at.id {
				continue
			}
			l.budget--
			out.ids, out.bells, out.dues = append(out.ids, id), append(out.bells, b.ID), append(out.dues, b.DueAt)
		}
	}
	return out, true, nil
}

// nextBell takes the earliest bell of all sources; nil at the end.
func (l *list) nextBell(ctx context.Context, sources []*bellSource) (*task.Bell, error) {
	var best *bellSource
	for _, src := range sources {
		if len(src.bells) == 0 && !src.done {
			if err := l.fill(ctx, src); err != nil {
				return nil, err
			}
		}
		if len(src.bells) == 0 {
			continue
		}
		if best == nil || src.bells[0].DueAt < best.bells[0].DueAt ||
			src.bells[0].DueAt == best.bells[0].DueAt && src.bells[0].ID < best.bells[0].ID {
			best = src
		}
	}
	if best == nil {
		return nil, nil
	}
	b := best.bells[0]
	best.bells = best.bells[1:]
	return &b, nil
}

// fill reads on. The first reading begins with the bell that the cursor stands in.
func (l *list) fill(ctx context.Context, src *bellSource) error {
	until := int64(math.MaxInt64)
	if l.shown < 0 {
		until = l.now
	}
	const n = 100
	x := newText(8).s("SELECT " + bellColumns + " FROM bells WHERE lane_id=").n(int64(src.lane)).s(" AND app_id=").n(int64(src.app)).
		s(" AND kind=").n(int64(src.kind)).s(" AND due_at>=").n(src.at.due).s(" AND due_at<=").n(until).s(" AND (due_at>").n(src.at.due).s(" OR id>=").n(src.at.bell).
		s(") ORDER BY due_at,id LIMIT ").n(n)
	err := l.s.readEach(ctx, x.String(), func(rows *sql.Rows) error {
		b, err := scanBell(rows)
		src.bells = append(src.bells, b)
		return err
	})
	if err != nil {
		return err
	}
	src.done = len(src.bells) < n
	if !src.done {
		last := src.bells[len(src.bells)-1]
		src.at = cursor{mode: byDue, due: last.DueAt, bell: last.ID + 1}
	}
	return nil
}
