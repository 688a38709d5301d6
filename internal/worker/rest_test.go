package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// restStore notes when it was given how many ends; its tasks hold places in a limit if it is limited.
type restStore struct {
	*fakeStore
	limited bool

	mu      sync.Mutex
	first   time.Time
	commits []string
}

func (s *restStore) Claim(ctx context.Context, req task.ClaimRequest) (task.Claimed, error) {
	out, err := s.fakeStore.Claim(ctx, req)
	for i := range out.Tasks {
		if s.limited {
			out.Tasks[i].Places = 1
		}
	}
	return out, err
}

func (s *restStore) Finish(ctx context.Context, fb task.FinishBatch) ([]task.Bell, error) {
	s.mu.Lock()
	if s.first.IsZero() {
		s.first = time.Now()
	}
	if len(fb.Endings) > 0 {
		s.commits = append(s.commits, fmt.Sprintf("%d after %v", len(fb.Endings), time.Since(s.first)))
	}
	s.mu.Unlock()
	time.Sleep(1500 * time.Microsecond) // so that the ends of an instant are in one commit, which waits for the one before
	return s.fakeStore.Finish(ctx, fb)
}

// restKinds are handlers that take that many ms.
func restKinds(ms ...int) runners {
	out := runners{"big": func(context.Context, Job) task.Result {
		time.Sleep(10 * time.Millisecond)
		return task.Result{Outcome: task.OutcomeSucceeded, Body: make([]byte, maxFlushBytes/64)}
	}}
	for _, n := range ms {
		out[fmt.Sprint("k", n)] = func(context.Context, Job) task.Result {
			time.Sleep(time.Duration(n) * time.Millisecond)
			return task.Result{Outcome: task.OutcomeSucceeded}
		}
	}
	return out
}

// restSpecs are n tasks for each kind in turn.
func restSpecs(of ...any) (specs []spec) {
	for i := 0; i < len(of); i += 2 {
		for range of[i].(int) {
			specs = append(specs, spec{kind: of[i+1].(string)})
		}
	}
	return specs
}

func TestFlusherRestsBetweenLargeCommits(t *testing.T) {
	for _, tc := range []struct {
		name    string
		limited bool
		most    int
		specs   []spec
		want    []string
	}{
		{"what ends meanwhile is committed together", false, 0, restSpecs(1, "k9", 32, "k10", 5, "k13", 6, "k16", 1, "k30", 1, "k33"),
			[]string{"1 after 0s", "32 after 1.5ms", "11 after 11ms", "1 after 21ms", "1 after 24ms"}},
		{"after a small commit it does not", false, 0, restSpecs(1, "k9", 31, "k10", 1, "k13", 1, "k16"),
			[]string{"1 after 0s", "31 after 1.5ms", "1 after 4ms", "1 after 7ms"}},
		{"until there is enough for a commit", false, 40, restSpecs(1, "k9", 40, "k10", 39, "k13", 1, "k16"),
			[]string{"1 after 0s", "40 after 1.5ms", "40 after 7ms"}},
		{"until what waits fills a transaction", false, 0, restSpecs(1, "k9", 138, "big"),
			[]string{"1 after 0s", "64 after 1.5ms", "64 after 3ms", "10 after 12.5ms"}},
		{"places in limits are freed at once", true, 0, restSpecs(1, "k9", 40, "k10", 1, "k13", 1, "k16"),
			[]string{"1 after 0s", "40 after 1.5ms", "1 after 4ms", "1 after 7ms"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := &restStore{fakeStore: newFakeStore(), limited: tc.limited}
				r := start(t, s, restKinds(9, 10, 13, 16, 30, 33), func(o *Options) { o.Slots, o.MaxFlush = 256, tc.most })
				r.store = s.fakeStore
				after(10 * time.Millisecond)
				r.bus.Ring(s.add(1, tc.specs...))
				after(time.Second)
				if !slices.Equal(s.commits, tc.want) {
					t.Errorf("commits: %q, want %q", s.commits, tc.want)
				}
				if n := r.store.count(task.Succeeded); n != len(tc.specs) {
					t.Errorf("%d of %d tasks succeeded", n, len(tc.specs))
				}
				r.stop()
			})
		})
	}
}

// TestDrainDoesNotWaitForARest: what the handlers left is committed as soon as the last has returned.
func TestDrainDoesNotWaitForARest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &restStore{fakeStore: newFakeStore()}
		r := start(t, s, restKinds(9, 10, 13), func(o *Options) { o.Slots = 256 })
		r.store = s.fakeStore
		after(10 * time.Millisecond)
		r.bus.Ring(s.add(1, restSpecs(1, "k9", 40, "k10", 1, "k13")...))
		after(5 * time.Millisecond)
		r.stop()
		if want := []string{"1 after 0s", "40 after 1.5ms", "1 after 4ms"}; !slices.Equal(s.commits, want) {
			t.Errorf("commits: %q, want %q", s.commits, want)
		}
	})
}
