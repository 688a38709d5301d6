package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
	"github.com/taskweir/taskweir/pkg/client"
	"github.com/taskweir/taskweir/pkg/worker"
)

// Everything that a handler can say arrives at the client, with a real engine, database, broker and API.
func TestHandlersOnRealParts(t *testing.T) {
	t.Parallel()
	everywhere(t, handlersOnRealParts)
}

func handlersOnRealParts(t *testing.T) (*worker.Worker, func(*place)) {
	causes := make(chan error, 8)
	w := worker.New()
	w.Use(func(next worker.Handler) worker.Handler {
		return func(ctx context.Context, a *worker.Attempt) error {
			if a.Kind() == "watched" {
				a.Logger().Info("seen by the middleware")
			}
			return next(ctx, a)
		}
	})
	worker.HandleResult(w, "sum", func(_ context.Context, x worker.Task[[]int]) (int, error) {
		sum := 0
		for _, n := range x.Payload {
			sum += n
		}
		return sum, nil
	})
	worker.Handle(w, "watched", func(context.Context, worker.Task[order]) error { return nil })
	worker.Handle(w, "flaky", func(_ context.Context, x worker.Task[order]) error {
		switch x.Epoch() {
		case 1:
			return worker.Code("busy", worker.RetryAfter(300*time.Millisecond, errors.New("come back later")))
		case 2:
			panic("boom")
		case 3:
			return worker.Snooze(time.Second)
		}
		return x.SetResult(x.Retry())
	})
	worker.Handle(w, "final", func(context.Context, worker.Task[order]) error {
		return worker.Code("card_declined", worker.Permanent(errors.New("no money")))
	})
	worker.Handle(w, "stuck", func(ctx context.Context, x worker.Task[order]) error {
		if err := x.Progress(map[string]int{"percent": 40}); err != nil {
			return err
		}
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return ctx.Err()
	}, worker.MaxRun(time.Minute))
	worker.Handle(w, "late", func(ctx context.Context, _ worker.Task[order]) error {
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return ctx.Err()
	}, worker.MaxRun(200*time.Millisecond))

	return w, func(p *place) {
		quick := client.Backoff(apiv1.Retry{Policy: "fixed", BaseMs: new(int64(1)), CapMs: new(int64(1))})
		sum, watched, flaky := p.submit(t, "sum", []int{1, 2, 3}), p.submit(t, "watched", order{}), p.submit(t, "flaky", order{}, quick)
		final, wrong, late := p.submit(t, "final", order{}), p.submit(t, "sum", "no numbers"), p.submit(t, "late", order{}, client.MaxRetries(0))
		stuck := p.submit(t, "stuck", order{}, client.NoTimeout())

		if got := p.final(t, sum); got.State != "succeeded" || string(got.Result) != "6" {
			t.Error(text(got))
		}
		if got := p.final(t, watched); len(got.Attempts) != 1 || !strings.Contains(got.Attempts[0].LogTail, `msg="seen by the middleware"`) {
			t.Error(text(got))
		}
		got := p.final(t, flaky)
		if got.State != "succeeded" || string(got.Result) != "2" || got.Failures != 2 || len(got.Attempts) != 4 {
			t.Fatal(text(got))
		}
		first, second, third := got.Attempts[0], got.Attempts[1], got.Attempts[2]
		if first.Error.Code != "busy" || second.StartedAt-first.FinishedAt < 300 || second.Error.Code != "panic" ||
			!strings.Contains(second.LogTail, "real_test.go") || third.Outcome != "snoozed" || got.Attempts[3].StartedAt-third.FinishedAt < 1_000 {
			t.Error(text(got.Attempts))
		}
		if got := p.final(t, final); got.State != "failed" || got.Reason != "permanent" || got.Error.Code != "card_declined" || got.Error.Message != "no money" {
			t.Error(text(got))
		}
		if got := p.final(t, wrong); got.Reason != "permanent" || got.Error.Code != "invalid_payload" || !strings.Contains(got.Error.Message, "string") {
			t.Error(text(got))
		}
		if got := p.final(t, late); got.State != "failed" || got.Attempts[0].Outcome != "timed_out" || !errors.Is(<-causes, worker.ErrTimedOut) {
			t.Error(text(got))
		}
		eventually(t, "the progress is seen", func() bool {
			got, err := p.Get(t.Context(), stuck)
			return err == nil && string(got.Progress) == `{"percent":40}`
		})
		eventually(t, "the stack is seen", func() bool {
			s, err := p.Stack(t.Context(), stuck)
			return err == nil && string(s.Progress) == `{"percent":40}` && strings.Contains(text(s.Goroutines), "real_test.go")
		})
		if _, err := p.Cancel(t.Context(), stuck, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		if got := p.final(t, stuck); got.State != "cancelled" || string(got.Progress) != "null" || !errors.Is(<-causes, worker.ErrCancelled) {
			t.Error(text(got))
		}
	}
}

// A worker of one's own beside the API and the scheduler runs its own kinds, says so, and leaves the rest to others.
func TestAWorkerRunsItsOwnKindsOnly(t *testing.T) {
	t.Parallel()
	p := split(t)
	w := worker.New(worker.Slots(7))
	worker.Handle(w, "mine", func(context.Context, worker.Task[order]) error { return nil })
	var none *client.Error
	if _, err := p.Submit(t.Context(), "mine", nil); !errors.As(err, &none) || none.Problem.Status != http.StatusUnprocessableEntity {
		t.Errorf("a kind that nobody declared: %v", err)
	}
	own := p.start(w)
	eventually(t, "the kind is known", func() bool {
		_, err := p.Submit(t.Context(), "mine", nil)
		return err == nil
	})
	foreign := p.submit(t, "echo", 1)
	if got := p.final(t, p.submit(t, "mine", order{})); got.State != "succeeded" {
		t.Error(text(got))
	}
	eventually(t, "the verdict says who is missing", func() bool {
		got, err := p.Get(t.Context(), foreign)
		return err == nil && got.State == "queued" && got.Verdict != nil && got.Verdict.Code == apiv1.VerdictNoWorkerForKind
	})
	for w, err := range p.Workers.List(t.Context(), false, client.Page{}) {
		if err != nil || text(w.Kinds) != `["mine"]` || w.Slots != 7 {
			t.Errorf("%v %s", err, text(w))
		}
	}
	if got := page(t, "http://"+own.OpsAddr()+"/readyz"); !strings.HasPrefix(got, "200 ") {
		t.Error(got)
	}
	if got := page(t, "http://"+own.OpsAddr()+"/metrics"); !strings.Contains(got, "taskweir_worker_slots 7") {
		t.Error(got)
	}
	if own.URL() != "" || own.APIKey() != "" {
		t.Error("a worker has no API")
	}
	// With the built-in kinds it is as good as a stock worker, and both serve one queue.
	p.start(w.With(worker.BuiltIns()))
	if got := p.final(t, foreign); string(got.Result) != "1" {
		t.Error(text(got))
	}
}

// Two fleets that run different kinds share a queue: what comes to the wrong one is soon with the right one.
func TestTwoFleetsShareAQueue(t *testing.T) {
	t.Parallel()
	p := split(t)
	for _, kind := range []string{"a", "b"} {
		w := worker.New()
		worker.Handle(w, kind, func(context.Context, worker.Task[order]) error { return nil })
		p.start(w)
	}
	round := func() (slow int) {
		var ids []apiv1.ID
		for range 50 {
			ids = append(ids, p.submit(t, "a", nil), p.submit(t, "b", nil))
		}
		for _, id := range ids {
			got := p.final(t, id)
			if got.State != "succeeded" {
				t.Fatal(text(got))
			}
			if got.StartedAt-got.CreatedAt > 900 {
				slow++
			}
		}
		return slow
	}
	// An nsqd looks at what is deferred in a channel that is new only after up to 5 s.
	t.Logf("on a new topic %d of 100 tasks start more than 0.9 s late", round())
	if slow := round(); slow > 10 {
		t.Errorf("%d of 100 tasks started more than 0.9 s late", slow)
	}
}

// sink is a receiver that refuses what is older than what it has seen.
type sink struct {
	mu      sync.Mutex
	highest map[string]int
	taken   []int
	refused []int
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, epoch := r.Header.Get("Taskweir-Task-Id"), 0
	epoch, _ = strconv.Atoi(r.Header.Get("Taskweir-Epoch"))
	if epoch < s.highest[id] {
		s.refused = append(s.refused, epoch)
		w.WriteHeader(http.StatusConflict)
		return
	}
	s.highest[id] = epoch
	s.taken = append(s.taken, epoch)
}

// A worker that dies while its handler is about to write: the task runs elsewhere with the next epoch, and what the first
// handler writes after that is refused by the receiver, which is the only one that can.
func TestTheEpochFencesTheEffect(t *testing.T) {
	t.Parallel()
	p := split(t)
	s := &sink{highest: map[string]int{}}
	server := httptest.NewServer(s)
	defer server.Close()
	hc := server.Client()
	started, release, wrote := make(chan int, 2), make(chan struct{}), make(chan int, 2)
	w := worker.New(worker.DrainTime(0))
	worker.Handle(w, "write", func(ctx context.Context, x worker.Task[order]) error {
		started <- x.Epoch()
		if x.Epoch() == 1 {
			<-release // it hears nothing of its end
		}
		req, err := http.NewRequest(http.MethodPost, server.URL, strings.NewReader("x")) // nor does its request
		if err != nil {
			return worker.Permanent(err)
		}
		x.Fence(req.Header)
		res, err := hc.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		wrote <- res.StatusCode
		return nil
	})
	first := p.start(w)
	id := p.submit(t, "write", order{}, client.NoTimeout())
	if epoch := <-started; epoch != 1 {
		t.Fatal(epoch)
	}
	first.Kill() // nothing is said to the database: a scheduler has to notice
	p.start(w)
	if epoch := <-started; epoch != 2 {
		t.Fatal(epoch)
	}
	got := p.final(t, id)
	if got.State != "succeeded" || got.Losses != 1 || got.Failures != 0 || <-wrote != http.StatusOK {
		t.Error(text(got))
	}
	close(release)
	if status := <-wrote; status != http.StatusConflict {
		t.Errorf("the stale write was answered %d", status)
	}
	if text(s.taken) != "[2]" || text(s.refused) != "[1]" {
		t.Errorf("taken %v, refused %v", s.taken, s.refused)
	}
	if after := p.final(t, id); text(after) != text(got) {
		t.Errorf("the late return changed the task:\n%s\n%s", text(got), text(after))
	}
}

// A drain waits for handlers that listen and does not wait for one that does not: that task runs again elsewhere.
func TestADrainDoesNotWaitForZombies(t *testing.T) {
	t.Parallel()
	p := split(t)
	started, release := make(chan string, 4), make(chan struct{})
	causes := make(chan error, 1)
	w := worker.New(worker.DrainTime(300 * time.Millisecond))
	worker.Handle(w, "work", func(ctx context.Context, x worker.Task[string]) error {
		if x.Epoch() == 1 {
			started <- x.Payload
		}
		switch {
		case x.Epoch() > 1:
		case x.Payload == "deaf":
			<-release
		case x.Payload == "polite":
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return ctx.Err()
		case x.Payload == "quick":
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
		}
		return nil
	})
	first := p.start(w)
	ids := map[string]apiv1.ID{}
	for _, name := range []string{"deaf", "polite", "quick"} {
		ids[name] = p.submit(t, "work", name, client.NoTimeout())
		if got := <-started; got != name {
			t.Fatal(got)
		}
	}
	began := time.Now()
	if err := first.Stop(); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d < 300*time.Millisecond || d > 4*time.Second {
		t.Errorf("drained in %s", d)
	}
	if cause := <-causes; !errors.Is(cause, worker.ErrDraining) {
		t.Errorf("cause %v", cause)
	}
	p.start(w)
	for name, epochs := range map[string]int{"deaf": 2, "polite": 2, "quick": 1} {
		got := p.final(t, ids[name])
		if got.State != "succeeded" || got.Attempts[len(got.Attempts)-1].Epoch != epochs || got.Failures != 0 {
			t.Errorf("%s: %s", name, text(got))
		}
	}
	close(release)
}

// A zombie is shown with its task, and its attempt is closed without it.
func TestAZombieIsShownAndClosed(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T) (*worker.Worker, func(*place)) {
		release := make(chan struct{})
		t.Cleanup(func() { close(release) })
		w := worker.New(worker.Setting("worker.grace", "100ms"), worker.Setting("worker.zombie_after", "2s"), worker.DrainTime(0))
		worker.Handle(w, "deaf", func(_ context.Context, x worker.Task[json.RawMessage]) error {
			if x.Epoch() == 1 {
				<-release
			}
			return nil
		})
		return w, func(p *place) {
			id := p.submit(t, "deaf", nil, client.Timeout(100*time.Millisecond))
			eventually(t, "it is shown as a zombie", func() bool {
				got, err := p.Get(t.Context(), id)
				return err == nil && got.Zombie
			})
			if got := p.final(t, id); got.State != "succeeded" || got.Attempts[0].Outcome != "timed_out" || got.Zombie {
				t.Error(text(got))
			}
		}
	})
}
