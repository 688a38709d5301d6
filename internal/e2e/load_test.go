package e2e

import (
	"context"
	crand "crypto/rand"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load submits tasks that call the receiver, as a careful client does: every request has an idempotency key and is
// repeated, under the same key, until it is answered.
type load struct {
	c        *client
	r        *receiver
	name     string // idempotency keys are remembered for longer than a test
	stopping chan struct{}
	wg       sync.WaitGroup
	serial   atomic.Int64
	repeats  atomic.Int64 // requests that had to be sent again

	mu       sync.Mutex
	accepted []string
	refused  []string // answers that no careful client should ever get
}

const loaders = 6

func startLoad(t *testing.T, c *client, r *receiver) *load {
	t.Helper()
	l := &load{c: c, r: r, name: crand.Text(), stopping: make(chan struct{})}
	ctx := t.Context()
	for range loaders {
		l.wg.Go(func() { l.loop(ctx) })
	}
	return l
}

func (l *load) loop(ctx context.Context) {
	for {
		l.one(ctx)
		select {
		case <-l.stopping:
			return
		case <-ctx.Done():
			return
		case <-time.After(15 * time.Millisecond):
		}
	}
}

// one sends a single task, a delayed one, or a batch.
func (l *load) one(ctx context.Context) {
	task := fmt.Sprintf(`{"kind":"http","payload":{"url":"%s/ok"},"retry":{"policy":"fixed","baseMs":200,"max":20}`, l.r.URL)
	path, body := "/v1/tasks", task+"}"
	switch n := rand.IntN(10); {
	case n < 2:
		body = fmt.Sprintf(`%s,"delayMs":%d}`, task, rand.IntN(1500))
	case n < 4:
		path, body = "/v1/tasks/batch", `{"tasks":[`+strings.Repeat(task+"},", 9)+task+`}]}`
	}
	key := fmt.Sprintf("%s-%d", l.name, l.serial.Add(1))
	for {
		r, err := l.c.do(ctx, http.MethodPost, path, body, key)
		if err == nil && r.status < 500 && r.status != http.StatusTooManyRequests {
			l.note(r)
			return
		}
		l.repeats.Add(1)
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// note remembers the ids of an answer.
func (l *load) note(r reply) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var answer struct {
		ID    string
		Items []struct{ Task *shownTask }
	}
	if err := json.Unmarshal(r.body, &answer); err != nil || r.status >= 300 {
		l.refused = append(l.refused, r.String())
		return
	}
	if answer.ID != "" {
		l.accepted = append(l.accepted, answer.ID)
	}
	for _, item := range answer.Items {
		if item.Task == nil {
			l.refused = append(l.refused, r.String())
			continue
		}
		l.accepted = append(l.accepted, item.Task.ID)
	}
}

// stop ends the load, waits until everything accepted is final, and checks it.
func (l *load) stop(t *testing.T) {
	t.Helper()
	close(l.stopping)
	l.wg.Wait()
	for _, answer := range l.refused {
		t.Errorf("refused: %.300s", answer)
	}
	began := time.Now()
	open := l.accepted
	eventually(t, time.Minute, fmt.Sprintf("all of %d accepted tasks are final", len(l.accepted)), func() bool {
		open = l.unfinished(t, open)
		return len(open) == 0
	})
	runs := l.r.check(t, l.accepted)
	t.Logf("%d tasks accepted, %d runs, %d requests repeated, all final %v after the last", len(l.accepted), runs, l.repeats.Load(), time.Since(began).Round(time.Millisecond))
}

// unfinished gives those of the tasks that are not final, and fails for those that did not succeed.
func (l *load) unfinished(t *testing.T, ids []string) []string {
	t.Helper()
	var open []string
	for len(ids) > 0 {
		n := min(len(ids), 200)
		var page struct{ Items []shownTask }
		l.c.must(t, http.MethodGet, "/v1/tasks?ids="+strings.Join(ids[:n], ","), "", &page)
		if len(page.Items) != n {
			t.Fatalf("asked for %d accepted tasks, got %d", n, len(page.Items))
		}
		for _, task := range page.Items {
			if !task.final() {
				open = append(open, task.ID)
			} else if task.State != "succeeded" {
				t.Errorf("task ended otherwise: %+v", task)
			}
		}
		ids = ids[n:]
	}
	return open
}
