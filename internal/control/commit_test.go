package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a store whose transactions are decided by a function. What a test does not need is missing: calling it panics.
type shelf struct {
	Store
	mu     sync.Mutex
	next   int64
	sizes  []int // tasks of each transaction
	decide func([]*task.Request) error
	held   map[int64]task.State
	asked  int // queries for held tasks
}

func (s *shelf) Now() int64 { return 1_000_000 }

func (s *shelf) TaskIDs(_ context.Context, n int) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next += int64(n)
	return s.next - int64(n) + 1, nil
}

func (s *shelf) Submit(_ context.Context, reqs []*task.Request) (bells []task.Bell, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range reqs {
		n += len(r.Tasks)
	}
	s.sizes = append(s.sizes, n)
	for _, r := range reqs {
		for _, t := range r.Tasks {
			t.Created, t.TaskID, t.CreatedAt, t.DueAt = true, t.ID, s.Now(), s.Now()
			bells = append(bells, task.Bell{ID: t.ID, Direct: true, TaskIDs: []int64{t.ID}})
		}
	}
	if s.decide != nil {
		if err := s.decide(reqs); err != nil {
			return nil, err
		}
	}
	return bells, nil
}

func (s *shelf) Kinds(context.Context) ([]task.KindRow, error) {
	return []task.KindRow{{ID: 1, Name: "echo"}}, nil
}

func (s *shelf) EnsureLane(context.Context, string, task.Priority) (task.Lane, error) {
	return task.Lane{ID: 1}, nil
}

func (s *shelf) Held(_ context.Context, ids []int64) (out []task.Held, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	for _, id := range ids {
		if st, ok := s.held[id]; ok {
			out = append(out, task.Held{ID: id, State: st})
		}
	}
	return out, nil
}

type bellsRung struct {
	mu  sync.Mutex
	ids []int64
}

func (b *bellsRung) Ring(rungs ...task.Rung) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range rungs {
		b.ids = append(b.ids, r.TaskIDs...)
	}
}

func newService(t *testing.T, s *shelf) (*Service, *bellsRung) {
	t.Helper()
	bells := &bellsRung{}
	svc := New(Options{Store: s, Clock: s, Ringer: bells, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { svc.Close(context.Background()) })
	return svc, bells
}

var me = Principal{App: task.App{ID: 1, Key: "k"}, Scope: task.ScopeSubmit}

// poison makes transactions fail that hold one of these payloads.
func poison(payloads ...string) func([]*task.Request) error {
	return func(reqs []*task.Request) error {
		for _, r := range reqs {
			for _, t := range r.Tasks {
				if b, _ := task.DecodeBody(t.Body); slices.Contains(payloads, string(b.Payload)) {
					return errors.New("this row cannot be stored")
				}
			}
		}
		return nil
	}
}

func TestOnlyTheGuiltyTaskIsRefused(t *testing.T) {
	s := &shelf{decide: poison("13", "77")}
	svc, bells := newService(t, s)
	ins := make([]*Input, 200)
	for i := range ins {
		ins[i] = &Input{Kind: "echo", Payload: fmt.Append(nil, i)}
	}
	items, _, err := svc.SubmitBatch(context.Background(), me, ins, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, it := range items {
		if guilty := i == 13 || i == 77; guilty != (it.Err != nil) {
			t.Errorf("item %d: %v", i, it.Err)
		}
		if it.Err == nil && it.View.ID == 0 {
			t.Errorf("item %d has no task", i)
		}
	}
	svc.Close(context.Background())
	if len(bells.ids) != 198 {
		t.Errorf("%d tasks were rung, want 198", len(bells.ids))
	}
}

func TestSingleCallersDoNotHearOfTheGuiltyOne(t *testing.T) {
	first := make(chan struct{})
	hold := make(chan struct{})
	s := &shelf{}
	guilty := poison("13")
	s.decide = func(reqs []*task.Request) error {
		select {
		case <-first:
		default:
			close(first)
			<-hold // the others gather meanwhile
		}
		return guilty(reqs)
	}
	svc, _ := newService(t, s)
	var wg sync.WaitGroup
	submit := func(n int) {
		wg.Go(func() {
			_, err := svc.Submit(context.Background(), me, &Input{Kind: "echo", Payload: fmt.Append(nil, n)}, nil)
			if (n == 13) != (err != nil) {
				t.Errorf("task %d: %v", n, err)
			}
		})
	}
	submit(0)
	<-first
	for n := 1; n <= 40; n++ {
		submit(n)
	}
	for svc.flusher.Waiting() < 40 {
		time.Sleep(time.Millisecond)
	}
	close(hold)
	wg.Wait()
	if s.sizes[0] != 1 || s.sizes[1] != 40 {
		t.Errorf("transactions of %v tasks: the 40 did not share one", s.sizes)
	}
}

func TestDatabaseGoneSplitsNothing(t *testing.T) {
	s := &shelf{decide: func([]*task.Request) error { return task.Gone("database_unavailable", errors.New("refused")) }}
	svc, bells := newService(t, s)
	_, _, err := svc.SubmitBatch(context.Background(), me, []*Input{{Kind: "echo"}, {Kind: "echo"}, {Kind: "echo"}}, nil)
	if task.CodeOf(err) != "database_unavailable" || len(s.sizes) != 1 {
		t.Errorf("%v after %d transactions", err, len(s.sizes))
	}
	_, err = svc.Submit(context.Background(), me, &Input{Kind: "echo"}, nil)
	if task.KindOf(err) != task.Unavailable {
		t.Errorf("%v", err)
	}
	svc.Close(context.Background())
	if len(bells.ids) != 0 {
		t.Errorf("rung: %v", bells.ids)
	}
}

func TestUnknownOutcome(t *testing.T) {
	s := &shelf{decide: func([]*task.Request) error { return fmt.Errorf("commit: %w", task.ErrOutcomeUnknown) }}
	svc, _ := newService(t, s)
	_, err := svc.Submit(context.Background(), me, &Input{Kind: "echo"}, nil)
	var e *task.Error
	if !errors.As(err, &e) || e.Kind != task.Unavailable || e.Code != "outcome_unknown" || e.RetryAfter == 0 {
		t.Errorf("%v", err)
	}
	if len(s.sizes) != 1 {
		t.Errorf("%d transactions: what may be stored must not be stored again", len(s.sizes))
	}
}

func TestACallerThatLeavesDoesNotStopTheFlush(t *testing.T) {
	entered, hold := make(chan struct{}), make(chan struct{})
	s := &shelf{decide: func([]*task.Request) error { close(entered); <-hold; return nil }}
	svc, bells := newService(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	got := make(chan error, 1)
	go func() {
		_, err := svc.Submit(ctx, me, &Input{Kind: "echo"}, nil)
		got <- err
	}()
	<-entered
	cancel()
	if err := <-got; task.CodeOf(err) != "outcome_unknown" {
		t.Errorf("the caller that left heard %v", err)
	}
	close(hold)
	svc.Close(context.Background())
	if len(bells.ids) != 1 {
		t.Errorf("rung: %v", bells.ids)
	}
}

func TestBatchIsCutByCountAndBytes(t *testing.T) {
	s := &shelf{}
	svc, _ := newService(t, s)
	big := []byte(`"` + string(slices.Repeat([]byte("x"), 200<<10)) + `"`)
	ins := make([]*Input, 600)
	for i := range ins {
		ins[i] = &Input{Kind: "echo"}
		if i < 12 {
			ins[i].Payload = big
		}
	}
	if _, _, err := svc.SubmitBatch(context.Background(), me, ins, nil); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, n := range s.sizes {
		total += n
		if n > task.MaxFlushTasks {
			t.Errorf("a transaction of %d tasks", n)
		}
	}
	if total != 600 || s.sizes[0] != 5 || s.sizes[1] != 5 {
		t.Errorf("transactions of %v tasks", s.sizes)
	}
}

func TestCredentialsAreForgotten(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		var c credentials
		c.put([32]byte{1}, me, nil)
		time.Sleep(credentialTTL - time.Millisecond)
		if _, ok := c.get([32]byte{1}); !ok {
			t.Error("forgotten too early")
		}
		time.Sleep(time.Millisecond)
		if _, ok := c.get([32]byte{1}); ok {
			t.Error("remembered too long")
		}
	})
}

func TestGuessesDoNotPushKeysOut(t *testing.T) {
	var c credentials
	c.put([32]byte{1}, me, nil)
	for n := range 3 * credentialsMax {
		c.put([32]byte{2, byte(n), byte(n >> 8), byte(n >> 16)}, Principal{}, errCredential)
	}
	if _, ok := c.get([32]byte{1}); !ok || len(c.m) > credentialsMax {
		t.Errorf("the key is remembered: %v, entries: %d", ok, len(c.m))
	}
}

func TestOnePollerForAllWhoWait(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		s := &shelf{held: map[int64]task.State{}}
		for id := range int64(300) {
			s.held[id] = task.Running
		}
		w := newWaiters(s)
		defer w.close()
		var wg sync.WaitGroup
		took := make([]time.Duration, 300)
		start := time.Now()
		for id := range int64(300) {
			wg.Go(func() {
				if err := w.wait(context.Background(), id, 10*time.Second); err != nil {
					t.Error(err)
				}
				took[id] = time.Since(start)
			})
		}
		time.Sleep(time.Second)
		s.mu.Lock()
		for id := range int64(100) {
			s.held[id] = task.Succeeded
		}
		delete(s.held, 100) // purged: nothing to wait for
		s.mu.Unlock()
		time.Sleep(time.Second)
		w.finished([]int64{200})
		wg.Wait()
		for id, d := range took {
			switch {
			case id <= 100 && (d < time.Second || d > time.Second+2*waitPoll), id == 200 && d != 2*time.Second, id > 100 && id != 200 && d != 10*time.Second:
				t.Fatalf("task %d was answered after %v", id, d)
			}
		}
		queries := func() int {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.asked
		}
		asked := queries()
		if most := int(10*time.Second/waitPoll) + 1; asked > most {
			t.Errorf("%d queries, want at most %d for all", asked, most)
		}
		time.Sleep(time.Minute)
		if more := queries() - asked; more > 1 {
			t.Errorf("%d queries while nobody waited", more)
		}
	})
}
