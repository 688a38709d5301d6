package sqldb_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/task"
)

// pages walks a list to its end and gives every id, in order.
func (x *front) pages(f task.Filter) (ids []int64) {
	x.t.Helper()
	for n := 0; ; n++ {
		p, err := x.s.List(x.ctx, f)
		x.ok(err)
		if len(p.Items) > f.Limit {
			x.t.Fatalf("%d items of at most %d", len(p.Items), f.Limit)
		}
		for _, v := range p.Items {
			ids = append(ids, v.ID)
		}
		if p.Next == "" {
			return ids
		}
		if f.Cursor = p.Next; n > 1000 {
			x.t.Fatal("the list has no end")
		}
	}
}

func TestListFiltersAndCursors(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		now := x.s.Clock().Now()
		low, err := x.s.EnsureLane(x.ctx, "mail", task.Low)
		x.ok(err)
		var queued, scheduled, mail, labelled, foreign, cancelled, failed, running, succeeded []int64
		for i := range 7 {
			id, _ := x.created(nil)
			queued = append(queued, id)
			id, _ = x.created(func(s *task.Submission, _ *task.BodyHead) { s.DueAt = now + 3_600_000 - int64(i)*1000 })
			scheduled = append([]int64{id}, scheduled...)
			id, _ = x.created(func(s *task.Submission, h *task.BodyHead) { s.LaneID = low.ID; h.Labels = map[string]string{"a": "1"} })
			mail, labelled, queued = append(mail, id), append(labelled, id), append(queued, id)
			id, _ = x.created(func(s *task.Submission, _ *task.BodyHead) { s.AppID = x.other.ID })
			foreign = append(foreign, id)
			id, _ = x.created(nil)
			_, err := x.s.Cancel(x.ctx, 0, id)
			x.ok(err)
			cancelled = append(cancelled, id)
			var b task.Bell
			id, b = x.created(nil)
			c, w := x.claim(b)
			x.finish(c, w, failing)
			failed = append(failed, id)
			id, b = x.created(func(_ *task.Submission, h *task.BodyHead) { h.Labels = map[string]string{"a": "1", "b": "2"} })
			labelled = append(labelled, id)
			x.claim(b)
			running = append(running, id)
			id, b = x.created(nil)
			c, w = x.claim(b)
			x.finish(c, w, nil)
			succeeded = append(succeeded, id)
		}
		stale := mail[1]
		_, err = x.s.RunNow(x.ctx, 0, stale) // its old bell lists it still
		x.ok(err)
		mail = append(slices.Delete(mail, 1, 2), stale)
		every := slices.Concat(queued, scheduled, cancelled, failed, running, succeeded)
		newest := func(ids []int64) []int64 {
			out := slices.Sorted(slices.Values(ids))
			slices.Reverse(out)
			return out
		}
		app := x.app.ID
		for _, c := range []struct {
			name string
			f    task.Filter
			want []int64
		}{
			{"all", task.Filter{AppID: app}, newest(every)},
			{"every app", task.Filter{}, newest(slices.Concat(every, foreign))},
			{"other app", task.Filter{AppID: x.other.ID}, newest(foreign)},
			{"scheduled", task.Filter{AppID: app, State: "scheduled"}, scheduled},
			{"running", task.Filter{AppID: app, State: "running"}, newest(running)},
			{"succeeded", task.Filter{AppID: app, State: "succeeded"}, newest(succeeded)},
			{"failed", task.Filter{AppID: app, State: "failed"}, newest(failed)},
			{"failed of every app", task.Filter{State: "failed"}, newest(failed)},
			{"cancelled", task.Filter{AppID: app, State: "cancelled"}, newest(cancelled)},
			{"blocked", task.Filter{AppID: app, State: "blocked"}, nil},
			{"queue", task.Filter{AppID: app, Queue: "mail"}, newest(mail)},
			{"queued of a queue", task.Filter{AppID: app, Queue: "mail", State: "queued"}, mail},
			{"unknown queue", task.Filter{AppID: app, Queue: "nope"}, nil},
			{"kind", task.Filter{AppID: app, Kind: "echo"}, newest(every)},
			{"other kind", task.Filter{AppID: app, Kind: "http"}, nil},
			{"unknown kind", task.Filter{AppID: app, Kind: "nope"}, nil},
			{"label", task.Filter{AppID: app, Label: task.Label{Key: "a", Value: "1"}}, newest(labelled)},
			{"label of every app", task.Filter{Label: task.Label{Key: "a", Value: "1"}}, newest(labelled)},
			{"label and state", task.Filter{AppID: app, Label: task.Label{Key: "a", Value: "1"}, State: "running"}, newest(running)},
			{"label and queued", task.Filter{AppID: app, Label: task.Label{Key: "a", Value: "1"}, State: "queued"}, mail},
			{"other label", task.Filter{AppID: app, Label: task.Label{Key: "a", Value: "2"}}, nil},
			{"from", task.Filter{AppID: app, From: now - 1000}, newest(every)},
			{"from the future", task.Filter{AppID: app, From: now + 3_600_000}, nil},
			{"to", task.Filter{AppID: app, To: now - 1000}, nil},
			{"from and to", task.Filter{AppID: app, From: now - 1000, To: now + 600_000, State: "failed"}, newest(failed)},
		} {
			for _, limit := range []int{1, 3, 1000} {
				c.f.Limit = limit
				if got := x.pages(c.f); !slices.Equal(got, c.want) {
					t.Errorf("%s by %d: got %v, want %v", c.name, limit, got, c.want)
				}
			}
		}
		got := x.pages(task.Filter{AppID: app, State: "queued", Limit: 2})
		if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(queued))) || got[len(got)-1] != stale {
			t.Errorf("queued: got %v, want %v", got, queued)
		}
	})
}

func TestListByUniqueKey(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		first, bell := x.created(unique("k", task.ScopeUntilFinished, 0))
		c, w := x.claim(bell)
		x.finish(c, w, nil)
		second, _ := x.created(unique("k", task.ScopeUntilFinished, 0))
		x.created(unique("l", task.ScopeUntilFinished, 0))
		x.created(nil)
		for _, limit := range []int{1, 10} {
			if got := x.pages(task.Filter{AppID: x.app.ID, UniqueKey: "k", Limit: limit}); !slices.Equal(got, []int64{second, first}) {
				t.Errorf("by %d: got %v", limit, got)
			}
		}
		if got := x.pages(task.Filter{AppID: x.other.ID, UniqueKey: "k", Limit: 10}); got != nil {
			t.Errorf("another app's: %v", got)
		}
	})
}

func TestListPagesOverBellsInDueOrder(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		now := x.s.Clock().Now()
		high, err := x.s.EnsureLane(x.ctx, "default", task.High)
		x.ok(err)
		var subs []*task.Submission
		for i := range 350 {
			subs = append(subs, x.sub(func(s *task.Submission, _ *task.BodyHead) {
				s.DueAt = now + 3_600_000 + int64(i*7%5)*1000
				if i%3 == 0 {
					s.LaneID = high.ID
				}
			}))
		}
		x.submit(subs...)
		for _, limit := range []int{1000, 49} {
			got := x.pages(task.Filter{AppID: x.app.ID, State: "scheduled", Limit: limit})
			if len(got) != len(subs) || len(slices.Compact(slices.Sorted(slices.Values(got)))) != len(subs) {
				t.Fatalf("by %d: %d tasks of %d", limit, len(got), len(subs))
			}
			last := int64(0)
			for _, id := range got {
				due := x.state(id).DueAt
				if due < last {
					t.Fatalf("by %d: not in due order", limit)
				}
				last = due
			}
		}
	})
}

func TestListReadsABoundedNumberOfEntries(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		old, _ := x.created(func(_ *task.Submission, h *task.BodyHead) { h.UniqueKey = "old" })
		x.ok(x.s.Exec(x.ctx, "DELETE FROM unique_keys"))
		for range 21 {
			var subs []*task.Submission
			first, err := x.s.TaskIDs(x.ctx, 500)
			x.ok(err)
			for i := range int64(500) {
				subs = append(subs, &task.Submission{ID: first + i, AppID: x.app.ID, LaneID: x.lane.ID, KindID: x.kind, TimeoutMs: 1, Body: []byte{1, 0, '1'}})
			}
			x.submit(subs...)
		}
		p, err := x.s.List(x.ctx, task.Filter{AppID: x.app.ID, UniqueKey: "old", Limit: 50})
		x.ok(err)
		if len(p.Items) != 0 || p.Next == "" {
			t.Fatalf("the first page has %d items and cursor %q", len(p.Items), p.Next)
		}
		if got := x.pages(task.Filter{AppID: x.app.ID, UniqueKey: "old", Limit: 50}); !slices.Equal(got, []int64{old}) {
			t.Errorf("over all pages: %v", got)
		}
		deep, err := x.s.List(x.ctx, task.Filter{AppID: x.app.ID, State: "queued", Kind: "echo", Limit: 1000})
		x.ok(err)
		if len(deep.Items) != 1000 || deep.Next == "" {
			t.Errorf("%d items", len(deep.Items))
		}
		depth, err := x.s.Queues(x.ctx, x.app.ID, x.s.Clock().Now())
		x.ok(err)
		if depth[0].Waiting != 10_501 && !depth[0].AtLeast {
			t.Errorf("depth %+v", depth[0])
		}
	})
}

func TestWrongCursors(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		for range 3 {
			x.created(nil)
		}
		p, err := x.s.List(x.ctx, task.Filter{AppID: x.app.ID, Limit: 1})
		x.ok(err)
		q, err := x.s.List(x.ctx, task.Filter{AppID: x.app.ID, State: "queued", Limit: 1})
		x.ok(err)
		for i, f := range []task.Filter{{Cursor: "x"}, {Cursor: "AAAAAAAA"}, {Cursor: p.Next + "AA"}, {Cursor: q.Next}, {Cursor: p.Next, State: "queued"},
			{Cursor: fmt.Sprintf("%0100d", 1)}} {
			f.AppID, f.Limit = x.app.ID, 1
			_, err := x.s.List(x.ctx, f)
			if e := wantKind(t, err, task.Malformed, ""); len(e.Fields) != 1 || e.Fields[0].Field != "cursor" {
				t.Errorf("%d: %+v", i, e)
			}
		}
		_, err = x.s.List(x.ctx, task.Filter{AppID: x.app.ID, State: "sleeping", Limit: 1})
		if e := wantKind(t, err, task.Invalid, ""); e.Fields[0].Field != "state" {
			t.Errorf("%+v", e)
		}
	})
}

func TestPagesOfLargeTasksAreShorter(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		now := x.s.Clock().Now()
		big, err := task.Body{Payload: []byte(`"` + strings.Repeat("x", task.MaxPayload-2) + `"`)}.Encode()
		x.ok(err)
		var want []int64
		for i := range 120 {
			id, _ := x.created(func(s *task.Submission, _ *task.BodyHead) { s.DueAt = now + 3_600_000 + int64(i/7) })
			want = append(want, id)
		}
		for part := range slices.Chunk(want, 3) {
			for _, id := range part {
				x.ok(x.s.Exec(x.ctx, fmt.Sprintf("UPDATE payloads SET body=x'%x' WHERE id=%d", big, id)))
			}
		}
		for _, f := range []task.Filter{{State: "scheduled"}, {}} {
			f.AppID, f.Limit = x.app.ID, 1000
			p, err := x.s.List(x.ctx, f)
			x.ok(err)
			if len(p.Items) == 0 || len(p.Items) > 60 || p.Next == "" {
				t.Errorf("%q: a page of %d large tasks, more: %v", f.State, len(p.Items), p.Next != "")
			}
			if got := slices.Sorted(slices.Values(x.pages(f))); !slices.Equal(got, want) {
				t.Errorf("%q: got %v", f.State, got)
			}
		}
	})
}
