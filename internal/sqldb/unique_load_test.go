package sqldb_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/taskweir/taskweir/internal/task"
)

// TestUniqueKeysUnderLoad drives submits with few keys, cancels, claims and finishes against each other. In the end no two
// live tasks share a key, and every key is held by a live task.
func TestUniqueKeysUnderLoad(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		rounds := 40
		if testing.Short() {
			rounds = 10
		}
		var wg sync.WaitGroup
		for g := range 6 {
			rng := rand.New(rand.NewPCG(uint64(g), 7))
			wg.Go(func() {
				var mine []int64
				for range rounds {
					var reqs []*task.Request
					for range 1 + rng.IntN(5) {
						key := fmt.Sprintf("k%d", rng.IntN(6))
						scope := task.ScopeUntilStarted + task.UniqueScope(rng.IntN(2))
						sub := x.sub(unique(key, scope, task.UniqueConflict(rng.IntN(3))))
						r := &task.Request{AppID: x.app.ID, Tasks: []*task.Submission{sub}}
						if rng.IntN(3) == 0 {
							r = idem(x, fmt.Sprintf("i%d", rng.IntN(20)), "body", sub)
						}
						reqs = append(reqs, r)
					}
					bells, err := x.s.Submit(x.ctx, reqs)
					if err != nil {
						t.Errorf("submit: %v", err)
						return
					}
					for _, r := range reqs {
						if s := r.Tasks[0]; s.Err == nil && s.TaskID == 0 {
							t.Errorf("neither refused nor answered: %+v", s)
						}
						mine = append(mine, r.Tasks[0].TaskID)
					}
					switch rng.IntN(3) {
					case 0:
						if id := mine[rng.IntN(len(mine))]; id != 0 {
							if _, err := x.s.Cancel(x.ctx, 0, id); err != nil {
								t.Errorf("cancel: %v", err)
							}
						}
					case 1:
						if len(bells) > 0 {
							c, w := x.claim(bells...)
							x.finish(c, w, nil)
						}
					}
				}
			})
		}
		wg.Wait()
		x.checkKeys()
	})
}

// checkKeys compares the keys that are held with the tasks that are live.
func (x *front) checkKeys() {
	x.t.Helper()
	held := map[[32]byte]int64{}
	rows, err := x.s.DB().Query("SELECT k, task_id FROM unique_keys")
	x.ok(err)
	defer rows.Close()
	for rows.Next() {
		var k []byte
		var id int64
		x.ok(rows.Scan(&k, &id))
		held[[32]byte(k)] = id
		if st := x.state(id).State; st.Final() {
			x.t.Errorf("task %d is over (%d) and holds its key", id, st)
		}
	}
	x.ok(rows.Err())
	live := 0
	for _, id := range x.pages(task.Filter{Limit: 1000}) {
		v := x.view(id)
		if v.State.Final() || v.State == task.Running && v.Flags.Has(task.UntilStarted) {
			continue
		}
		live++
		if got := held[task.UniqueHash(v.AppID, v.Body.Head.UniqueKey)]; got != id {
			x.t.Errorf("task %d waits or runs, but its key is held by %d", id, got)
		}
	}
	if live != len(held) {
		x.t.Errorf("%d live tasks, %d keys", live, len(held))
	}
}
