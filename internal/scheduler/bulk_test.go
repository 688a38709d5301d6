package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// bulkShelf is bulk operations in memory: how many tasks are left of each, and one that cannot be changed.
type bulkShelf struct {
	left  map[int64]int
	bad   int64 // an operation whose steps fail with more than one task
	turns []int64
	most  []int
}

func (b *bulkShelf) ActiveBulks(context.Context) (ids []int64, _ error) {
	for id, n := range b.left {
		if n > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

func (b *bulkShelf) StepBulk(_ context.Context, id int64, limit int) (task.BulkStep, error) {
	b.turns, b.most = append(b.turns, id), append(b.most, limit)
	if id == b.bad && limit > 1 {
		return task.BulkStep{Failed: errors.New("no")}, nil
	}
	n := min(limit, b.left[id])
	b.left[id] -= n
	return task.BulkStep{Changed: n, Ended: b.left[id] == 0, Cancels: []task.Asked{{TaskID: id, WorkerID: 7, Epoch: 3}}}, nil
}

type bulkSignals struct{ sent []task.Signal }

func (s *bulkSignals) Signal(_ context.Context, worker int64, sig task.Signal) error {
	if worker == 7 {
		s.sent = append(s.sent, sig)
	}
	return nil
}

// Operations take turns, one step each; one whose steps fail has smaller ones until what is at fault is alone, then larger ones again.
func TestBulkOperationsTakeTurns(t *testing.T) {
	shelf, signals := &bulkShelf{left: map[int64]int{3: 1200, 5: 40, 9: 1001}}, &bulkSignals{}
	s := &Scheduler{o: Options{Bulks: shelf, Signals: signals, Logger: slog.New(slog.DiscardHandler), Intervals: Intervals{Query: time.Second}}}
	b := &bulks{s: s, limits: map[int64]int{}}
	for len(shelf.turns) < 20 {
		before := len(shelf.turns)
		pause, err := b.turn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(shelf.turns) == before {
			if pause != 0 {
				t.Errorf("with nothing to do the pause is %v", pause)
			}
			break
		}
		if pause < bulkRest {
			t.Errorf("no rest after a step: %v", pause)
		}
	}
	if want := []int64{3, 5, 9, 3, 9, 3, 9}; !slices.Equal(shelf.turns, want) {
		t.Errorf("turns %v, want %v", shelf.turns, want)
	}
	if len(signals.sent) != 7 || signals.sent[0].Kind != "cancel" || signals.sent[0].TaskID != 3 || signals.sent[0].Epoch != 3 {
		t.Errorf("signals %+v", signals.sent)
	}

	shelf.left, shelf.turns, shelf.most, shelf.bad = map[int64]int{11: 20}, nil, nil, 11
	for range 10 {
		if _, err := b.turn(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if want := []int{500, 250, 125, 62, 31, 15, 7, 3, 1, 2}; !slices.Equal(shelf.most, want) {
		t.Errorf("steps of %v tasks, want %v", shelf.most, want)
	}
}
