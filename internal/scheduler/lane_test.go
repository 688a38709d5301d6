package scheduler

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/taskweir/taskweir/internal/task"
)

// Bells that come in any order, some of them twice, leave in order of their due times, and in that of their ids where those
// are equal.
func TestQueueOfALaneIsInOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		l, a := &laneState{}, &appState{inHead: map[int64]bool{}}
		var want []task.Rung
		id := int64(0)
		for range 30 {
			var batch []task.Rung
			for range r.IntN(6) {
				id += 1 + r.Int64N(3)
				one := task.Rung{Bell: task.Bell{ID: 1_000 - id, DueAt: r.Int64N(20)}}
				want = append(want, one)
				batch = append(batch, one)
				if r.IntN(4) == 0 {
					batch = append(batch, one)
				}
			}
			r.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
			l.enqueue(a, batch...)
			slices.SortFunc(want, func(x, y task.Rung) int {
				if x.DueAt != y.DueAt {
					return int(x.DueAt - y.DueAt)
				}
				return int(x.ID - y.ID)
			})
			for range r.IntN(4) {
				if len(want) == 0 {
					break
				}
				if got := l.dequeue(a); got.ID != want[0].ID {
					t.Fatalf("bell %d due at %d came first, want %d due at %d", got.ID, got.DueAt, want[0].ID, want[0].DueAt)
				}
				want = want[1:]
			}
			if len(a.ahead) != len(want) || len(a.inHead) != len(want) {
				t.Fatalf("%d bells and %d known, want %d", len(a.ahead), len(a.inHead), len(want))
			}
		}
	}
}
