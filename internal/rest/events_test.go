package rest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/events"
	"github.com/taskweir/taskweir/internal/rdb"
	"github.com/taskweir/taskweir/internal/redisembed"
	"github.com/taskweir/taskweir/internal/rest"
	"github.com/taskweir/taskweir/internal/secret"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// look gives what a history looks like to a client: ids, types, states and why.
func look(list []control.TaskEvent) (out []string) {
	for _, e := range list {
		out = append(out, fmt.Sprintf("%s type=%d state=%d outcome=%s reason=%s at=%d", e.Step, e.Type, e.State, e.Outcome, e.Reason, e.At))
	}
	return out
}

// follow reads what a task's stream gives at this moment after an id.
func (w *world) follow(svc *control.Service, id int64, last string) (list []control.TaskEvent, over bool) {
	w.t.Helper()
	ctx := context.Background()
	who, err := svc.Authenticate(ctx, rootKey)
	if err != nil {
		w.t.Fatal(err)
	}
	st, over, err := svc.FollowTask(ctx, who, id, last)
	if err != nil {
		w.t.Fatal(err)
	}
	if over {
		return nil, true
	}
	defer st.Close()
	if list, over, err = st.Next(ctx, 0); err != nil {
		w.t.Fatal(err)
	}
	return list, over
}

// life takes a task through random steps of its life, one at a call; false when it is final and stays so.
type life struct {
	w       *world
	r       *rand.Rand
	id      int64
	worker  int64
	claimed task.Claimed
	reopens int
}

func (l *life) step() bool {
	w, ctx := l.w, context.Background()
	must := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	row, err := w.store.State(ctx, 0, l.id)
	must(err)
	later := func(e *task.Ending) { e.RetryAt = w.store.Clock().Now() + 3 }
	switch {
	case row.State.Final():
		if l.reopens == 0 || l.r.IntN(2) == 0 {
			return false
		}
		l.reopens--
		_, err := w.store.Reopen(ctx, 0, l.id, true)
		must(err)
	case row.State == task.Waiting:
		switch l.r.IntN(8) {
		case 0:
			_, err := w.store.Cancel(ctx, 0, l.id)
			must(err)
		case 1:
			_, err := w.store.RunNow(ctx, 0, l.id)
			must(err)
		default:
			for w.store.Clock().Now() < row.DueAt {
				time.Sleep(time.Millisecond)
			}
			l.worker, l.claimed = w.start(l.id)
			time.Sleep(2 * time.Millisecond) // an attempt is due again later than it began
		}
	case row.State == task.Running:
		switch l.r.IntN(9) {
		case 0:
			w.finish(l.worker, l.claimed, task.Succeeded, nil)
		case 1:
			w.finish(l.worker, l.claimed, task.Failed, func(e *task.Ending) { e.Outcome, e.Reason = task.OutcomeFailed, task.Exhausted })
		case 2, 3:
			_, err := w.store.Release(ctx, l.claimed.ClaimID, nil, task.CauseLost)
			must(err)
		case 4:
			_, err := w.store.Release(ctx, l.claimed.ClaimID, nil, task.CauseReleased)
			must(err)
		case 5:
			_, err := w.store.Cancel(ctx, 0, l.id) // asked for: the end of the attempt decides
			must(err)
		case 6:
			w.finish(l.worker, l.claimed, task.Waiting, func(e *task.Ending) { e.Outcome = task.OutcomeSnoozed; later(e) })
		default:
			w.finish(l.worker, l.claimed, task.Waiting, func(e *task.Ending) { e.Outcome, e.ErrCode = task.OutcomeFailed, "x"; later(e) })
		}
	}
	return true
}

// Whatever happens to a task, somebody who connects anew after every step, to another process each time, hears every event once, and
// resuming at any id gives what a stream from the beginning gives after it.
func TestAHistoryIsResumedExactlyAtEveryID(t *testing.T) {
	onBoth(t, func(w *world) {
		box, err := secret.New([32]byte{1})
		if err != nil {
			w.t.Fatal(err)
		}
		other := control.New(control.Options{Store: w.store, Ringer: &ringer{}, Clock: w.store.Clock(), Secrets: box, Checks: checks, Logger: slog.New(slog.DiscardHandler)})
		defer other.Close(context.Background())
		processes := []*control.Service{w.svc, other}
		for seed := range uint64(40) {
			l := &life{w: w, r: rand.New(rand.NewPCG(seed, 7)), reopens: int(seed % 3), id: int64(w.submit(`{"kind":"echo","retry":{"max":100}}`).ID)}
			reopens := l.reopens > 0
			var heard []control.TaskEvent
			last := ""
			hear := func() {
				list, _ := w.follow(processes[l.r.IntN(2)], l.id, last)
				for _, e := range list {
					if len(heard) > 0 && !e.After(heard[len(heard)-1].Step) {
						w.t.Fatalf("seed %d: %s after %s", seed, e.Step, last)
					}
					heard = append(heard, e)
					last = e.Step.String()
				}
			}
			hear()
			for range 40 {
				if !l.step() {
					break
				}
				if l.r.IntN(3) > 0 { // now and then several steps pass unheard
					hear()
				}
			}
			hear()
			whole, over := w.follow(w.svc, l.id, "")
			row, err := w.store.State(context.Background(), 0, l.id)
			if err != nil {
				w.t.Fatal(err)
			}
			if over != row.State.Final() {
				w.t.Fatalf("seed %d: over is %v of a task that is %d", seed, over, row.State)
			}
			if !reopens && !slices.Equal(look(heard), look(whole)) {
				w.t.Fatalf("seed %d: heard\n%s\nbut the history is\n%s", seed, strings.Join(look(heard), "\n"), strings.Join(look(whole), "\n"))
			}
			for i, e := range whole {
				if !slices.ContainsFunc(heard, func(h control.TaskEvent) bool { return h.Step == e.Step }) {
					w.t.Fatalf("seed %d: %s was never heard", seed, e.Step)
				}
				rest, _ := w.follow(processes[i%2], l.id, e.Step.String())
				if !slices.Equal(look(rest), look(whole[i+1:])) {
					w.t.Fatalf("seed %d: after %s came\n%s\nwant\n%s", seed, e.Step, strings.Join(look(rest), "\n"), strings.Join(look(whole[i+1:]), "\n"))
				}
			}
		}
	})
}

// live is an API with everything that streams need, served.
type live struct {
	*world
	url   string
	redis *redisembed.Server
	close func() // what a process does first when it ends

	hub    *events.Hub
	writer *events.Writer
}

// newLive serves a world's store over a Redis: the embedded one, and the real one where there is one.
func onLive(t *testing.T, f func(l *live)) {
	urls := map[string]func(t *testing.T) (string, *redisembed.Server){"embedded": func(t *testing.T) (string, *redisembed.Server) {
		s, err := redisembed.Start()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s.URL(), s
	}}
	if url := os.Getenv("TASKWEIR_TEST_REDIS"); url != "" {
		urls["redis"] = func(t *testing.T) (string, *redisembed.Server) {
			o, err := redis.ParseURL(strings.TrimSuffix(url, "/") + "/5")
			if err != nil {
				t.Fatal(err)
			}
			c := redis.NewClient(o)
			defer c.Close()
			// Nobody has listened here lately.
			if err := c.Del(t.Context(), "taskweir:{events}:audience", "taskweir:{events}:young", "taskweir:{events}:stream").Err(); err != nil {
				t.Fatal(err)
			}
			return strings.TrimSuffix(url, "/") + "/5", nil
		}
	} else {
		t.Log("TASKWEIR_TEST_REDIS is not set: no real Redis")
	}
	for name, url := range urls {
		t.Run(name, func(t *testing.T) {
			w := newWorldOn(t, sqldbtest.New(t, "sqlite"))
			addr, embedded := url(t)
			l := &live{world: w, redis: embedded}
			l.serve(addr)
			f(l)
		})
	}
}

func (l *live) serve(url string) {
	t := l.t
	log := slog.New(slog.DiscardHandler)
	client, err := rdb.Open(rdb.Options{URL: url, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	writer := events.NewWriter(client, log)
	l.store.TellChanges(writer)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { writer.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	box, err := secret.New([32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	hub := events.NewHub(events.Options{Source: client, Encode: rest.AppendEvent, Names: func(ctx context.Context, app, lane, kind int32) (n events.Names, err error) {
		n.App, n.Queue, n.Kind, err = l.store.Names(ctx, app, lane, kind)
		return n, err
	}})
	l.svc.Close(context.Background()) // that of the world is replaced
	l.svc = control.New(control.Options{Store: l.store, Ringer: l.bells, Clock: l.store.Clock(), Signals: client, Checks: checks, Secrets: box, Logger: log, Events: hub, Tickets: client})
	l.hub, l.writer = hub, writer
	l.api = rest.New(rest.Options{Service: l.svc, Logger: log, Recheck: 200 * time.Millisecond, WriteWithin: 2 * time.Second})
	srv := httptest.NewServer(l.api)
	l.url, l.close = srv.URL, l.svc.StopWaiting
	t.Cleanup(func() { l.svc.StopWaiting(); srv.Close(); l.svc.Close(context.Background()) })
}

// sse is an open stream.
type sse struct {
	t    testing.TB
	res  *http.Response
	in   *bufio.Scanner
	last string // the id of the last event
}

// open opens a stream. Headers are names and values.
func (l *live) open(path string, headers ...string) *sse {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	l.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+path, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	if l.key != "" {
		req.Header.Set("Authorization", "Bearer "+l.key)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	tr := &http.Transport{}
	l.t.Cleanup(tr.CloseIdleConnections)
	res, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { res.Body.Close() })
	return &sse{t: l.t, res: res, in: bufio.NewScanner(res.Body)}
}

func (s *sse) want(status int) *sse {
	s.t.Helper()
	if s.res.StatusCode != status {
		raw, _ := io.ReadAll(s.res.Body)
		s.t.Fatalf("status %d, want %d: %s", s.res.StatusCode, status, raw)
	}
	return s
}

// next gives the next event; ok is false at the end of the stream.
func (s *sse) next() (e apiv1.Event, ok bool) {
	s.t.Helper()
	kind := ""
	for s.in.Scan() {
		name, value, _ := strings.Cut(s.in.Text(), ": ")
		switch name {
		case "id":
			s.last = value
		case "event":
			kind = value
		case "data":
			if err := json.Unmarshal([]byte(value), &e); err != nil || e.Type != kind {
				s.t.Fatalf("%v: %q is %+v", err, value, e)
			}
			return e, true
		}
	}
	return e, false
}

// until reads up to an event of a type and gives it.
func (s *sse) until(kind string) apiv1.Event {
	s.t.Helper()
	for {
		e, ok := s.next()
		if !ok {
			s.t.Fatalf("the stream ended before %s", kind)
		}
		if e.Type == kind {
			return e
		}
	}
}

func TestTheStreamOfOneTask(t *testing.T) {
	onLive(t, func(l *live) {
		id := l.submit(`{"kind":"echo","queue":"q1"}`).ID
		path := "/v1/tasks/" + id.String() + "/events"
		s := l.open(path).want(200)
		h := s.res.Header
		if h.Get("Content-Type") != "text/event-stream; charset=utf-8" || !strings.Contains(h.Get("Cache-Control"), "no-store") || h.Get("X-Accel-Buffering") != "no" {
			t.Error(h)
		}
		e, _ := s.next()
		if e.Type != "submitted" || e.ID != "0.1" || e.Task != id || e.Queue != "q1" || e.Kind != "echo" || e.State != "queued" || e.App == "" {
			t.Errorf("%+v", e)
		}
		worker, claimed := l.start(int64(id))
		if e, _ = s.next(); e.Type != "started" || e.ID != "1.1" || e.Worker != apiv1.ID(worker) || e.Epoch != 1 {
			t.Errorf("%+v", e)
		}
		l.finish(worker, claimed, task.Failed, func(e *task.Ending) {
			e.Outcome, e.Reason, e.ErrCode, e.ErrMessage = task.OutcomeFailed, task.Permanent, "broken", "it broke"
		})
		if e, _ = s.next(); e.Type != "failed" || e.ID != "1.2" || e.Reason != "permanent" || e.Error == nil || e.Error.Code != "broken" || e.State != "failed" {
			t.Errorf("%+v", e)
		}
		if _, ok := s.next(); ok {
			t.Error("the stream goes on after its final event")
		}
		if e, _ = l.open(path, "Last-Event-ID", "1.1").want(200).next(); e.ID != "1.2" {
			t.Errorf("%+v", e)
		}
		if e, _ = l.open(path + "?lastEventId=0.1").want(200).next(); e.ID != "1.1" {
			t.Errorf("%+v", e)
		}
		l.open(path, "Last-Event-ID", "1.2").want(204)
		for _, bad := range []string{"x", "1", "1.0", "01.1", "-1.1", "1.2.3", "99999999999999.1"} {
			l.open(path, "Last-Event-ID", bad).want(422)
		}
		l.open("/v1/tasks/999999/events").want(404)
		_, key := l.newApp("other", "read")
		other := *l
		other.world = l.as(key)
		other.open(path).want(404)
		l.do("HEAD", path, "").want(200)
	})
}

func TestTheWholeStream(t *testing.T) {
	onLive(t, func(l *live) {
		_, key := l.newApp("other", "submit")
		other := *l
		other.world = l.as(key)
		mine, theirs, all := l.open("/v1/events").want(200), other.open("/v1/events?type=submitted").want(200), l.open("/v1/events?app=*&queue=q2").want(200)
		for _, s := range []*sse{mine, theirs, all} {
			s.until("reset")
		}
		first := l.submit(`{"kind":"echo"}`).ID
		foreign := other.submit(`{"kind":"echo","queue":"q2"}`).ID
		if e := mine.until("submitted"); e.Task != first || e.Kind != "echo" || e.DueAt == 0 {
			t.Errorf("%+v", e)
		}
		from := mine.last
		if e := theirs.until("submitted"); e.Task != foreign {
			t.Errorf("%+v", e)
		}
		if e := all.until("submitted"); e.Task != foreign || e.Queue != "q2" {
			t.Errorf("%+v", e)
		}
		worker, claimed := l.start(int64(first))
		l.finish(worker, claimed, task.Waiting, func(e *task.Ending) {
			e.Outcome, e.RetryAt = task.OutcomeFailed, l.store.Clock().Now()+3_600_000
		})
		if e := mine.until("retrying"); e.Task != first || e.Outcome != "failed" || e.State != "scheduled" {
			t.Errorf("%+v", e)
		}
		l.do("POST", "/v1/tasks/"+first.String()+"/cancel", "").want(200)
		if e := mine.until("cancelled"); e.Task != first || e.Reason != "by_user" || e.Epoch != 1 {
			t.Errorf("%+v", e)
		}
		back := l.open("/v1/events", "Last-Event-ID", from).want(200)
		if e, _ := back.next(); e.Type != "retrying" || e.Task != first {
			t.Errorf("%+v", e)
		}
		if e, _ := back.next(); e.Type != "cancelled" {
			t.Errorf("%+v", e)
		}
		if e, _ := l.open("/v1/events", "Last-Event-ID", "nonsense").want(200).next(); e.Type != "reset" {
			t.Errorf("%+v", e)
		}
		for query, field := range map[string]string{"type=started,x": "type", "queue=": "queue", "kind=A": "kind", "what=1": "what"} {
			l.do("GET", "/v1/events?"+query, "").refused(422, field, "")
		}
		other.do("GET", "/v1/events?app=*", "").want(403)
		ended := make(chan bool)
		go func() {
			_, more := mine.next()
			ended <- more
		}()
		l.close() // the process ends: so do its streams, at once
		select {
		case more := <-ended:
			if more {
				t.Error("an event came after the end")
			}
		case <-time.After(5 * time.Second):
			t.Error("the stream outlives its process")
		}
		l.do("GET", "/v1/tasks/"+first.String()+"/events", "").want(503)
	})
}

func TestTickets(t *testing.T) {
	onLive(t, func(l *live) {
		id := l.submit(`{"kind":"echo"}`).ID.String()
		ticket := func(body string) string {
			t.Helper()
			got := decode[apiv1.Ticket](l.do("POST", "/v1/events/tickets", body).want(201))
			if at := int64(got.ExpiresAt) - l.store.Clock().Now(); at < 50_000 || at > 60_000 || len(got.Ticket) < 20 {
				t.Fatalf("%+v", got)
			}
			return got.Ticket
		}
		whole, one, log := ticket(""), ticket(`{"task":"`+id+`"}`), ticket(`{"task":"`+id+`"}`)
		nobody := *l
		nobody.world = l.as("")
		nobody.open("/v1/events?ticket=" + whole).want(200)
		nobody.open("/v1/events?ticket=" + whole).want(401) // used
		if e, _ := nobody.open("/v1/tasks/" + id + "/events?ticket=" + one).want(200).next(); e.Type != "submitted" {
			t.Errorf("%+v", e)
		}
		nobody.open("/v1/tasks/" + id + "/log?ticket=" + log).want(200)
		nobody.open("/v1/events?ticket=" + ticket(`{"task":"`+id+`"}`)).want(401) // for another stream
		nobody.open("/v1/tasks/" + id + "/events?ticket=" + ticket("")).want(401)
		nobody.open("/v1/events?ticket=" + strings.Repeat("x", 30)).want(401)
		nobody.open("/v1/events?ticket=").want(401)
		nobody.open("/v1/tasks?ticket=" + ticket("")).want(401) // other routes take none
		nobody.do("POST", "/v1/events/tickets", "").want(401)
		l.do("POST", "/v1/events/tickets", `{"task":"999999"}`).want(404)
		l.do("POST", "/v1/events/tickets", `{"task":"x"}`).refused(422, "task", "format")
		l.do("POST", "/v1/events/tickets", `{"queue":"x"}`).refused(422, "queue", "unknown_field")

		app, key := l.newApp("other", "read")
		other := *l
		other.world = l.as(key)
		theirs := decode[apiv1.Ticket](other.do("POST", "/v1/events/tickets", "").want(201)).Ticket
		keys := decode[apiv1.List[apiv1.Key]](l.do("GET", "/v1/apps/"+app+"/keys", "").want(200)).Items
		l.do("DELETE", "/v1/apps/"+app+"/keys/"+keys[0].ID.String(), "")
		nobody.open("/v1/events?ticket=" + theirs).want(401) // its key was revoked
	})
}

// Without Redis the history is all there; what only Redis has is said to be unavailable.
func TestStreamsWithoutRedis(t *testing.T) {
	onLive(t, func(l *live) {
		if l.redis == nil {
			l.t.Skip("only the embedded Redis is this test's to end")
		}
		id := l.submit(`{"kind":"echo"}`).ID
		l.redis.Close()
		s := l.open("/v1/tasks/" + id.String() + "/events").want(200)
		s.until("submitted")
		worker, claimed := l.start(int64(id))
		s.until("started")
		if p := l.do("GET", "/v1/tasks/"+id.String()+"/log", "").want(503).problem(); p.Code != "live_view_unavailable" {
			t.Errorf("%+v", p)
		}
		l.finish(worker, claimed, task.Succeeded, func(e *task.Ending) { e.Log = []byte("what it wrote") })
		s.until("succeeded")
		if got := l.do("GET", "/v1/tasks/"+id.String()+"/log?from=5", "").want(200).Body.String(); got != "it wrote" {
			t.Errorf("%q", got)
		}
		for _, a := range []answer{l.do("GET", "/v1/events", ""), l.do("POST", "/v1/events/tickets", ""), l.do("GET", "/v1/events?ticket="+strings.Repeat("x", 30), "")} {
			if p := a.want(503).problem(); p.Code != "live_view_unavailable" || a.Header().Get("Retry-After") == "" {
				t.Errorf("%+v", p)
			}
		}
	})
}
