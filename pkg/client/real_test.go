package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/app"
	"github.com/taskweir/taskweir/pkg/apiv1"
	"github.com/taskweir/taskweir/pkg/client"
)

// must gives a value, or ends the test.
func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestTasks(t *testing.T) {
	ctx, c := t.Context(), connect()
	defer c.Close()
	task, made := must[*apiv1.Task](t), must[*client.Submitted](t)

	raw := json.RawMessage(`{ "a" : 1.50, "<&>" : "\u00e9" }`)
	done := task(c.Wait(ctx, made(c.Submit(ctx, "echo", raw)).ID))
	if string(done.Payload) != string(raw) || string(done.Result) != string(raw) || done.Verdict.Code != apiv1.VerdictFinal {
		t.Errorf("%s became %s, %s", raw, done.Payload, done.Result)
	}
	if again := task(c.Retry(ctx, done.ID, true)); again.ID != done.ID {
		t.Errorf("retried as %s", again.ID)
	}
	copied := made(c.RetryWith(ctx, task(c.Wait(ctx, done.ID)).ID, []int{1}, true))
	if got, err := client.WaitResult[[]int](ctx, c, copied.ID); err != nil || !slices.Equal(got, []int{1}) || copied.RetryOf != done.ID {
		t.Errorf("%v %v, retry of %s", got, err, copied.RetryOf)
	}

	long := made(c.Submit(ctx, "sleep", map[string]int{"ms": 60_000}, client.Delay(time.Hour)))
	if now := task(c.RunNow(ctx, long.ID)); now.State == apiv1.StateScheduled {
		t.Errorf("it is still %s", now.State)
	}
	for e, err := range c.TaskEvents(ctx, long.ID, "") {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type != apiv1.EventStarted {
			continue
		}
		running := task(c.Get(ctx, long.ID))
		if got, err := c.Attempt(ctx, long.ID, running.Attempts[0].ID); err != nil || got.Attempt.ID != running.Attempts[0].ID {
			t.Errorf("%+v %v", got, err)
		}
		if s, err := c.Stack(ctx, long.ID); err != nil && !client.IsConflict(err) || err == nil && len(s.Goroutines) == 0 {
			t.Errorf("%+v %v", s, err)
		}
		break
	}
	if got := task(c.Cancel(ctx, long.ID, 10*time.Second)); got.State != apiv1.StateCancelled || got.Reason != apiv1.ReasonByUser {
		t.Errorf("%s %s", got.State, got.Reason)
	}
	if _, err := client.WaitResult[any](ctx, c, long.ID); !errors.Is(err, client.ErrTaskCancelled) || errors.Is(err, client.ErrTaskFailed) {
		t.Error(err)
	}
	if _, err := c.Abandon(ctx, long.ID); !client.IsConflict(err) || client.Code(err) != "not_a_zombie" {
		t.Error(err)
	}
	if _, err := c.Complete(ctx, long.ID, apiv1.Complete{Epoch: 1, Outcome: "succeeded", Result: json.RawMessage(` [1] `)}); !client.IsConflict(err) {
		t.Error(err)
	}
	var tag client.Response
	task(c.Get(ctx, long.ID, client.Capture(&tag)))
	if _, err := c.Get(ctx, long.ID, client.IfNoneMatch(tag.ETag())); !errors.Is(err, client.ErrNotModified) {
		t.Errorf("%q: %v", tag.ETag(), err)
	}
	many, err := c.GetMany(ctx, []apiv1.ID{long.ID, 1 << 51, done.ID})
	if err != nil || len(many) != 2 || many[0].ID != long.ID || many[1].ID != done.ID {
		t.Errorf("%+v %v", many, err)
	}
	if p, err := c.Log(ctx, done.ID, client.LogQuery{}); err != nil || len(p.Text) != 0 {
		t.Errorf("%+v %v", p, err)
	}
}

func TestShellLog(t *testing.T) {
	server := must[*app.App](t)(standalone(t.TempDir(), "TASKWEIR_WORKER_SHELL=true"))
	defer server.Stop()
	c := must[*client.Client](t)(client.New(server.URL(), server.APIKey()))
	defer c.Close()
	made, err := c.Submit(t.Context(), "shell", map[string]string{"script": "for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done"}, client.Delay(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for p, err := range c.FollowLog(t.Context(), made.ID, client.LogQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		if p.From != int64(text.Len()) {
			t.Errorf("a piece begins at %d after %d bytes", p.From, text.Len())
		}
		text.Write(p.Text)
	}
	const want = "line 1\nline 2\nline 3\nline 4\nline 5\n"
	if text.String() != want {
		t.Errorf("followed %q", text.String())
	}
	if p, err := c.Log(t.Context(), made.ID, client.LogQuery{From: 7}); err != nil || string(p.Text) != want[7:] || p.From != 7 || p.Attempt == 0 {
		t.Errorf("%+v %v", p, err)
	}
}

func TestSchedules(t *testing.T) {
	ctx, c := t.Context(), connect()
	defer c.Close()
	got := must[*apiv1.Schedule](t)
	in := apiv1.ScheduleInput{Name: "walk", Spec: apiv1.ScheduleSpec{Cron: "0 3 * * *"}, Task: apiv1.Submit{Kind: "echo", Payload: json.RawMessage(`{ "at" : "{{slot}}" }`)}}
	s := got(c.Schedules.Create(ctx, in))
	if string(s.Task.Payload) != string(in.Task.Payload) {
		t.Errorf("the payload became %s", s.Task.Payload)
	}
	if _, err := c.Schedules.Create(ctx, in); !client.IsConflict(err) {
		t.Error(err)
	} else if id, ok := client.ConflictingSchedule(err); !ok || id != s.ID {
		t.Errorf("%s %v", id, ok)
	}
	got(c.Schedules.Replace(ctx, s.ID, in, client.IfVersion(s.Version)))
	if _, err := c.Schedules.Replace(ctx, s.ID, in, client.IfVersion(s.Version)); !errors.Is(err, client.ErrPrecondition) {
		t.Error(err)
	}
	if p := got(c.Schedules.Pause(ctx, s.ID)); !p.Paused {
		t.Error("it is not paused")
	}
	if p := got(c.Schedules.Resume(ctx, s.ID)); p.Paused {
		t.Error("it is paused")
	}
	slot := must[*apiv1.Slot](t)(c.Schedules.Trigger(ctx, s.ID))
	if slot.TaskID == 0 {
		t.Errorf("%+v", slot)
	}
	must[*apiv1.Slot](t)(c.Schedules.SkipNext(ctx, s.ID))
	back := must[*apiv1.Backfill](t)(c.Schedules.Backfill(ctx, s.ID, time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2025, 1, 4, 0, 0, 0, 0, time.UTC)))
	if len(back.Items) != 3 {
		t.Errorf("%+v", back)
	}
	slots, err := client.Collect(c.Schedules.Slots(ctx, s.ID, client.SlotFilter{Outcome: apiv1.SlotFired, Page: client.Page{Size: 1}}), 0)
	if err != nil || len(slots) != 4 {
		t.Errorf("%d slots, %v", len(slots), err)
	}
	p := must[*apiv1.Preview](t)(c.Schedules.Preview(ctx, apiv1.SchedulePreview{Spec: in.Spec, Count: 3}))
	n := must[*apiv1.Preview](t)(c.Schedules.Next(ctx, s.ID, time.Time{}, 2))
	if len(p.Fires) != 3 || len(n.Fires) != 2 {
		t.Errorf("%+v, %+v", p, n)
	}
	list, err := client.Collect(c.Schedules.List(ctx, client.ScheduleFilter{Name: "walk", Paused: new(false)}), 0)
	if err != nil || len(list) != 1 || list[0].ID != s.ID {
		t.Errorf("%+v %v", list, err)
	}
	if err := c.Schedules.Delete(ctx, s.ID); err != nil {
		t.Error(err)
	}
	if _, err := c.Schedules.Get(ctx, s.ID); !client.IsNotFound(err) {
		t.Error(err)
	}
}

func TestFleetAndApps(t *testing.T) {
	ctx, c := t.Context(), connect()
	defer c.Close()
	if k, err := c.Kinds.Declare(ctx, "report.monthly"); err != nil || k.Name != "report.monthly" {
		t.Errorf("%+v %v", k, err)
	}
	if k, err := client.Collect(c.Kinds.List(ctx, client.Page{Size: 2}), 0); err != nil || !slices.ContainsFunc(k, func(k apiv1.Kind) bool { return k.Name == "report.monthly" }) {
		t.Errorf("%+v %v", k, err)
	}
	w, err := client.Collect(c.Workers.List(ctx, true, client.Page{}), 0)
	if err != nil || len(w) != 1 {
		t.Fatalf("%+v %v", w, err)
	}
	if one, err := c.Workers.Get(ctx, w[0].ID); err != nil || one.ID != w[0].ID {
		t.Errorf("%+v %v", one, err)
	}

	made := must[*apiv1.App](t)(c.Apps.Create(ctx, apiv1.AppCreate{Name: "billing", CallbackURL: "http://127.0.0.1:1/hook"}))
	if made.SigningSecret == "" {
		t.Error("no secret")
	}
	if r := must[*apiv1.App](t)(c.Apps.RotateSecret(ctx, made.ID, time.Minute)); r.SigningSecret == made.SigningSecret || r.OldSecretUntil == 0 {
		t.Errorf("%+v", r)
	}
	var tag client.Response
	must[*apiv1.App](t)(c.Apps.Get(ctx, made.ID, client.Capture(&tag)))
	if u, err := c.Apps.Update(ctx, made.ID, apiv1.AppPatch{Weight: new(3)}, client.IfMatch(tag.ETag())); err != nil || u.Weight != 3 {
		t.Errorf("%+v %v", u, err)
	}
	if _, err := c.Apps.Update(ctx, made.ID, apiv1.AppPatch{Weight: new(4)}, client.IfMatch(tag.ETag())); !errors.Is(err, client.ErrPrecondition) {
		t.Error(err)
	}
	if x, err := c.Apps.TestCallback(ctx, made.ID, ""); err != nil || x.OK || len(x.Findings) == 0 {
		t.Errorf("%+v %v", x, err)
	}
	key := must[*apiv1.Key](t)(c.Apps.CreateKey(ctx, made.ID, apiv1.KeyCreate{Name: "web", Scope: apiv1.ScopeSubmit}))
	theirs := must[*client.Client](t)(client.New(c.BaseURL(), key.Key))
	defer theirs.Close()
	mine := must[*client.Submitted](t)(theirs.Submit(ctx, "echo", 1))
	if _, err := c.Get(ctx, mine.ID); !client.IsNotFound(err) {
		t.Errorf("another app's task: %v", err)
	}
	if got, err := c.ForApp(made.ID).Get(ctx, mine.ID); err != nil || got.App != made.ID {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := theirs.Queues.Pause(ctx, "default"); !errors.Is(err, client.ErrForbidden) {
		t.Error(err)
	}
	if err := c.Apps.RevokeKey(ctx, made.ID, key.ID); err != nil {
		t.Error(err)
	}
	if _, err := theirs.Get(ctx, mine.ID); !errors.Is(err, client.ErrUnauthorized) {
		t.Error(err)
	}
	if keys, err := client.Collect(c.Apps.Keys(ctx, made.ID, client.Page{}), 0); err != nil || len(keys) != 1 || keys[0].RevokedAt == 0 {
		t.Errorf("%+v %v", keys, err)
	}
	if apps, err := client.Collect(c.Apps.List(ctx, client.Page{Size: 1}), 0); err != nil || len(apps) < 2 {
		t.Errorf("%+v %v", apps, err)
	}
	if h, err := c.Health(ctx); err != nil || h.Status != "ok" {
		t.Errorf("%+v %v", h, err)
	}
	if h, err := c.Ready(ctx); err != nil || h.Status != "ok" || len(h.Checks) == 0 {
		t.Errorf("%+v %v", h, err)
	}
}

// A ticket opens a stream once, for who has no key.
func TestTickets(t *testing.T) {
	c := connect()
	defer c.Close()
	made := must[*client.Submitted](t)(c.Submit(t.Context(), "echo", 1))
	must[*apiv1.Task](t)(c.Wait(t.Context(), made.ID))
	ticket := must[*apiv1.Ticket](t)(c.EventTicket(t.Context(), made.ID))
	for _, want := range []int{200, 401} {
		res := must[*http.Response](t)(http.Get(fmt.Sprintf("%s/v1/tasks/%s/events?ticket=%s", c.BaseURL(), made.ID, ticket.Ticket)))
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != want || err != nil || want == 200 && !strings.Contains(string(body), "event: succeeded") {
			t.Errorf("%d %s %v", res.StatusCode, body, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// proxy stands between client and server. It cuts connections by chance, and its server may change.
type proxy struct {
	net.Listener
	mu      sync.Mutex
	backend string
	cut     func() int // bytes until a connection is cut; below 0: never
	conns   map[net.Conn]bool
	all     sync.WaitGroup
}

func newProxy(t *testing.T, backend string, cut func() int) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, backend: backend, cut: cut, conns: map[net.Conn]bool{}}
	p.all.Add(1)
	go p.serve()
	t.Cleanup(func() {
		l.Close()
		p.drop()
		p.all.Wait()
	})
	return p
}

func (p *proxy) serve() {
	defer p.all.Done()
	for {
		in, err := p.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		backend, up, down := p.backend, p.cut(), p.cut()
		p.mu.Unlock()
		out, err := net.Dial("tcp", backend)
		if err != nil {
			in.Close()
			continue
		}
		p.mu.Lock()
		p.conns[in], p.conns[out] = true, true
		p.mu.Unlock()
		both := func() { in.Close(); out.Close() }
		p.all.Add(2)
		go p.pipe(out, in, up, both)
		go p.pipe(in, out, down, both)
	}
}

func (p *proxy) pipe(to, from net.Conn, most int, both func()) {
	defer p.all.Done()
	defer both()
	if most < 0 {
		_, _ = io.Copy(to, from)
		return
	}
	_, _ = io.CopyN(to, from, int64(most))
}

// drop ends all connections.
func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}

func (p *proxy) to(backend string) {
	p.mu.Lock()
	p.backend = backend
	p.mu.Unlock()
	p.drop()
}

// Each of many submits makes one task on a network that cuts every connection after some bytes, in requests and in answers.
func TestSubmitsOverABadNetwork(t *testing.T) {
	server := must[*app.App](t)(standalone(t.TempDir()))
	defer server.Stop()
	rng := rand.New(rand.NewPCG(1, 2))
	p := newProxy(t, server.Addr(), func() int { return 100 + rng.IntN(12_000) })
	c := must[*client.Client](t)(client.New("http://"+p.Addr().String(), server.APIKey(), client.WithRetry(client.RetryPolicy{Tries: 50, Base: time.Millisecond, Cap: 20 * time.Millisecond})))
	defer c.Close()
	const at, each = 8, 50
	var wg sync.WaitGroup
	ids := make([][]apiv1.ID, at)
	for i := range at {
		wg.Go(func() {
			for n := range each {
				got, err := c.Submit(t.Context(), "echo", map[string]int{"n": i*each + n}, client.Queue("bad-network"))
				if err != nil {
					t.Error(err)
					return
				}
				ids[i] = append(ids[i], got.ID)
			}
		})
	}
	wg.Wait()
	direct := must[*client.Client](t)(client.New(server.URL(), server.APIKey()))
	defer direct.Close()
	listed, err := client.Collect(direct.List(t.Context(), client.TaskFilter{Queue: "bad-network", Page: client.Page{Size: 1000}}), 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]apiv1.ID{}
	for _, task := range listed {
		if other, twice := seen[string(task.Payload)]; twice {
			t.Errorf("%s was made twice: %s and %s", task.Payload, other, task.ID)
		}
		seen[string(task.Payload)] = task.ID
	}
	for i, list := range ids {
		for n, id := range list {
			if seen[fmt.Sprintf(`{"n":%d}`, i*each+n)] != id {
				t.Errorf("task %s of the client is not that of the server", id)
			}
		}
	}
	if len(listed) != at*each {
		t.Errorf("%d tasks were made for %d submits", len(listed), at*each)
	}
}

// Waits and event streams outlive a restart of the server, and miss nothing of a task.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	server := must[*app.App](t)(standalone(dir))
	p := newProxy(t, server.Addr(), func() int { return -1 })
	c := must[*client.Client](t)(client.New("http://"+p.Addr().String(), server.APIKey()))
	defer c.Close()
	made := must[*client.Submitted](t)(c.Submit(t.Context(), "sleep", map[string]int{"ms": 1500}))

	var wg sync.WaitGroup
	started := make(chan struct{})
	var events []apiv1.Event
	wg.Go(func() {
		for e, err := range c.TaskEvents(t.Context(), made.ID, "") {
			if err != nil {
				t.Error(err)
				break
			}
			if events = append(events, e); len(events) == 2 {
				close(started)
			}
		}
	})
	wg.Go(func() {
		if got, err := c.Wait(t.Context(), made.ID); err != nil || got.State != apiv1.StateSucceeded {
			t.Errorf("%+v %v", got, err)
		}
	})
	<-started
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	server = must[*app.App](t)(standalone(dir))
	defer server.Stop()
	p.to(server.Addr())
	wg.Wait()
	var types []string
	for i, e := range events {
		if types = append(types, e.Type); i > 0 && e.ID == events[i-1].ID {
			t.Errorf("event %s came twice", e.ID)
		}
	}
	if want := []string{"submitted", "started", "retrying", "started", "succeeded"}; !slices.Equal(types, want) {
		t.Errorf("%q, want %q", types, want)
	}
}

// The whole stream tells what happens to the app's tasks.
func TestEvents(t *testing.T) {
	c := connect()
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var once sync.Once
	var id apiv1.ID
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	made := make(chan apiv1.ID, 1)
	go func() { // the stream tells what happens from its beginning on: submit until it does
		defer close(made)
		for {
			got, err := c.Submit(ctx, "echo", 1, client.Queue("listened"))
			if err != nil {
				return
			}
			select {
			case made <- got.ID:
			default:
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	for e, err := range c.Events(ctx, client.EventFilter{Queue: "listened", Types: []string{apiv1.EventSucceeded}}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == apiv1.EventReset {
			continue
		}
		once.Do(func() { id = e.Task })
		if e.Queue != "listened" || e.Type != apiv1.EventSucceeded || e.Kind != "echo" || e.State != apiv1.StateSucceeded || id == 0 {
			t.Errorf("%+v", e)
		}
		break
	}
	cancel()
	for range made { // until the submitter has ended
	}
}

func TestAnAnswerOfSomethingElse(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			fmt.Fprint(w, "<h1>Login</h1>")
			return
		}
		fmt.Fprint(w, "{}")
	}))
	defer srv.Close()
	c := must[*client.Client](t)(client.New(srv.URL, "k"))
	defer c.Close()
	_, err := c.Get(t.Context(), 1)
	_, err2 := c.Submit(t.Context(), "echo", 1)
	for _, err := range []error{err, err2} {
		if err == nil || !strings.Contains(err.Error(), "not Taskweir's") {
			t.Error(err)
		}
	}
}
