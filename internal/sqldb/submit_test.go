package sqldb_test

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

func TestSubmitWritesWhatIsReadBack(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		retry := task.RetryPolicy{Policy: "fixed", BaseMs: 5, CapMs: 5, Max: 1}
		sub := x.sub(func(_ *task.Submission, h *task.BodyHead) {
			h.Labels = map[string]string{"tenant": "acmé", "x": "it's"}
			h.Retry = &retry
		})
		bells := x.submit(sub)
		if len(bells) != 1 || !bells[0].Direct || !slices.Equal(bells[0].TaskIDs, []int64{sub.ID}) {
			t.Fatalf("bells %+v", bells)
		}
		views, err := x.s.Views(x.ctx, x.app.ID, []int64{sub.ID, 1 << 40})
		x.ok(err)
		if len(views) != 1 {
			t.Fatalf("%d views", len(views))
		}
		v := views[0]
		want, err := task.DecodeBody(sub.Body)
		x.ok(err)
		if !bytes.Equal(v.Body.Payload, want.Payload) || v.Body.Head.Labels["tenant"] != "acmé" || v.Body.Head.Retry.Max != 1 {
			t.Errorf("body %q, head %+v", v.Body.Payload, v.Body.Head)
		}
		if v.State != task.Waiting || v.Kind != "echo" || v.Queue != "default" || v.Priority != task.Normal ||
			v.AppKey != x.app.Key || v.DueAt != v.CreatedAt || v.Holder != bells[0].ID || len(v.Attempts) != 0 || v.Result != nil {
			t.Errorf("view %+v", v)
		}
		if d := x.s.Clock().Now() - v.CreatedAt; d < -50 || d > 10_000 {
			t.Errorf("created %d ms ago", d)
		}
	})
}

func TestSubmitGroupsBells(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		x.ok(x.s.TuneLane(x.ctx, x.lane.ID, 7, 100))
		now := x.s.Clock().Now()
		var subs []*task.Submission
		for range 250 {
			subs = append(subs, x.sub(nil))
		}
		for range 10 {
			subs = append(subs, x.sub(func(s *task.Submission, _ *task.BodyHead) { s.AppID = x.other.ID }))
		}
		for range 40 {
			subs = append(subs, x.sub(func(s *task.Submission, _ *task.BodyHead) { s.DueAt = now + 3_600_000 }))
		}
		for range 3 {
			subs = append(subs, x.sub(func(s *task.Submission, _ *task.BodyHead) { s.DueAt, s.ExpiresAt = now+1_500, now+100_000 }))
		}
		bells := x.submit(subs...)
		listed := map[int64]int64{}
		perApp, alone := map[int32]int{}, 0
		for _, b := range bells {
			for _, id := range b.TaskIDs {
				listed[id] = b.ID
			}
			switch {
			case b.DueAt > now+60_000:
				if b.Direct {
					t.Errorf("bell due in an hour is direct")
				}
				if len(b.TaskIDs) == 1 {
					alone++
				}
			case !b.Direct:
				t.Errorf("bell due within 2 s is not direct: %+v", b)
			case b.DueAt < now+1_000:
				perApp[b.AppID]++
			}
		}
		// The reading of bell sizes may be up to a second old: 16 was the first size.
		if n := perApp[x.app.ID]; n != 3 && n != 16 {
			t.Errorf("250 tasks of one lane and app in %d bells", n)
		}
		if perApp[x.other.ID] != 1 || alone != 32 {
			t.Errorf("%d bells of the other app, %d tasks of the instant alone", perApp[x.other.ID], alone)
		}
		for _, sub := range subs {
			if row := x.state(sub.ID); row.Holder != listed[sub.ID] || row.Holder == 0 {
				t.Fatalf("task %d has holder %d, is listed by %d", sub.ID, row.Holder, listed[sub.ID])
			}
		}
		if n := x.count("bells WHERE kind=1"); n != 1 {
			t.Errorf("%d expire bells", n)
		}
		again := x.submit(x.sub(func(s *task.Submission, _ *task.BodyHead) { s.DueAt = now + 3_600_000 }),
			x.sub(func(s *task.Submission, _ *task.BodyHead) { s.DueAt = now + 3_600_000 }))
		if len(again) != 1 {
			t.Errorf("more tasks of that instant are rung alone: %d bells", len(again))
		}
	})
}

func TestSubmitRefusesWhatCannotStart(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		now := x.s.Clock().Now()
		bad := x.sub(func(s *task.Submission, _ *task.BodyHead) { s.ExpiresAt = now - 1 })
		good := x.sub(nil)
		x.submit(bad, good)
		if !good.Created {
			t.Error("its neighbour was not created")
		}
		if e := wantKind(t, bad.Err, task.Invalid, ""); e.Fields[0].Field != "expiresAt" {
			t.Errorf("names %q", e.Fields[0].Field)
		}
	})
}

func idem(x *front, key, body string, subs ...*task.Submission) *task.Request {
	r := &task.Request{AppID: x.app.ID, Tasks: subs, Idem: &task.Idempotency{Key: task.IdempotencyHash(x.app.ID, key), First: true}}
	copy(r.Idem.Body[:], body)
	if len(subs) > 1 {
		for _, s := range subs {
			r.Idem.ItemIDs = append(r.Idem.ItemIDs, s.ID)
		}
	}
	return r
}

func TestIdempotency(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		first := idem(x, "k", "body", x.sub(nil))
		_, err := x.s.Submit(x.ctx, []*task.Request{first})
		x.ok(err)
		replay, other, fresh := idem(x, "k", "body", x.sub(nil)), idem(x, "k", "else", x.sub(nil)), idem(x, "k2", "body", x.sub(nil))
		_, err = x.s.Submit(x.ctx, []*task.Request{replay, other, fresh})
		x.ok(err)
		if !replay.Replayed || replay.Tasks[0].TaskID != first.Tasks[0].ID || replay.Tasks[0].Created {
			t.Errorf("replay: %+v %+v", replay, replay.Tasks[0])
		}
		wantKind(t, other.Err, task.Conflict, "idempotency_key_reused")
		if other.Tasks[0].Created || !fresh.Tasks[0].Created {
			t.Error("wrong ones were created")
		}
		if n := x.count("tasks"); n != 2 {
			t.Errorf("%d tasks", n)
		}
		got, ok, err := x.s.Remembered(x.ctx, first.Idem.Key)
		x.ok(err)
		if !ok || got.Body != first.Idem.Body || !slices.Equal(got.ItemIDs, []int64{first.Tasks[0].ID}) {
			t.Errorf("remembered %v %+v", ok, got)
		}
		x.ok(x.s.Exec(x.ctx, "UPDATE idempotency SET expires_at=1"))
		if _, ok, _ = x.s.Remembered(x.ctx, first.Idem.Key); ok {
			t.Error("remembered for ever")
		}
		late := idem(x, "k", "else", x.sub(nil))
		_, err = x.s.Submit(x.ctx, []*task.Request{late})
		x.ok(err)
		if late.Err != nil || !late.Tasks[0].Created {
			t.Errorf("after 24 h: %+v", late)
		}
	})
}

func TestTwoWithTheSameIdempotencyKeyAtOnce(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		const n = 8
		reqs := make([]*task.Request, n)
		for i := range reqs {
			reqs[i] = idem(x, "once", "body", x.sub(nil))
		}
		var wg sync.WaitGroup
		for i := range reqs {
			wg.Go(func() {
				if _, err := x.s.Submit(x.ctx, reqs[i:i+1]); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		made, ids := 0, map[int64]bool{}
		for _, r := range reqs {
			if r.Tasks[0].Created {
				made++
			} else if !r.Replayed {
				t.Errorf("neither created nor replayed: %+v", r)
			}
			ids[r.Tasks[0].TaskID] = true
		}
		if made != 1 || len(ids) != 1 || x.count("tasks") != 1 {
			t.Errorf("%d created, answered with %v", made, ids)
		}
		twins := []*task.Request{idem(x, "twin", "a", x.sub(nil)), idem(x, "twin", "a", x.sub(nil)), idem(x, "twin", "b", x.sub(nil))}
		_, err := x.s.Submit(x.ctx, twins)
		x.ok(err)
		if !twins[0].Tasks[0].Created || !twins[1].Replayed || twins[1].Tasks[0].TaskID != twins[0].Tasks[0].ID {
			t.Errorf("in one flush: %+v %+v", twins[0], twins[1])
		}
		wantKind(t, twins[2].Err, task.Conflict, "")
	})
}

func TestOnlyCreatedTasksAreRemembered(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		holder, _ := x.created(unique("u", task.ScopeUntilFinished, 0))
		r := idem(x, "k", "body", x.sub(unique("u", task.ScopeUntilFinished, task.OnConflictReject)))
		_, err := x.s.Submit(x.ctx, []*task.Request{r})
		x.ok(err)
		if e := wantKind(t, r.Tasks[0].Err, task.Conflict, "unique_key_taken"); e.TaskID != holder {
			t.Errorf("names task %d, not %d", e.TaskID, holder)
		}
		if n := x.count("idempotency"); n != 0 {
			t.Errorf("%d keys remembered", n)
		}
		_, err = x.s.Cancel(x.ctx, x.app.ID, holder)
		x.ok(err)
		r = idem(x, "k", "body", x.sub(unique("u", task.ScopeUntilFinished, task.OnConflictReject)))
		_, err = x.s.Submit(x.ctx, []*task.Request{r})
		x.ok(err)
		if !r.Tasks[0].Created {
			t.Errorf("the same key later: %+v", r.Tasks[0])
		}
	})
}

func TestBatchInParts(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		var subs []*task.Submission
		for range 6 {
			subs = append(subs, x.sub(nil))
		}
		whole := idem(x, "batch", "body", subs...)
		first := &task.Request{AppID: x.app.ID, Tasks: subs[:3], Idem: whole.Idem}
		_, err := x.s.Submit(x.ctx, []*task.Request{first})
		x.ok(err)
		replay := idem(x, "batch", "body", x.sub(nil), x.sub(nil), x.sub(nil))
		_, err = x.s.Submit(x.ctx, []*task.Request{replay})
		x.ok(err)
		if !replay.Replayed || len(replay.Idem.ItemIDs) != 6 || replay.Tasks[2].TaskID != subs[2].ID {
			t.Fatalf("replay %+v", replay.Idem)
		}
		// The rest, by two replays at once, one after the other, and the first part's items once more.
		for range 2 {
			rest := &task.Request{AppID: x.app.ID, Tasks: subs[2:], Idem: &task.Idempotency{Key: whole.Idem.Key, Body: whole.Idem.Body, ItemIDs: whole.Idem.ItemIDs}}
			_, err = x.s.Submit(x.ctx, []*task.Request{rest})
			x.ok(err)
			for _, sub := range rest.Tasks {
				if sub.TaskID != sub.ID || sub.Err != nil {
					t.Errorf("part: %+v", sub)
				}
			}
		}
		if n := x.count("tasks"); n != 6 {
			t.Errorf("%d tasks", n)
		}
	})
}

func TestUniqueScopesAndConflicts(t *testing.T) {
	for _, c := range []struct {
		scope                   task.UniqueScope
		running, failed, cancel bool // is the key still taken when the holder runs, has failed, was cancelled?
	}{
		{task.ScopeUntilStarted, false, false, false},
		{task.ScopeUntilFinished, true, false, false},
		{task.ScopeWindow, true, true, true},
		{task.ScopeForever, true, true, true},
	} {
		t.Run(fmt.Sprint(c.scope), func(t *testing.T) {
			eachFront(t, func(t *testing.T, x *front) {
				taken := func(key string, scope task.UniqueScope) bool {
					t.Helper()
					sub := x.sub(unique(key, scope, task.OnConflictReject))
					x.submit(sub)
					if sub.Err != nil {
						wantKind(t, sub.Err, task.Conflict, "unique_key_taken")
					}
					return !sub.Created
				}
				_, bell := x.created(unique("running", c.scope, 0))
				_, failBell := x.created(unique("failed", c.scope, 0))
				victim, _ := x.created(unique("cancel", c.scope, 0))
				if !taken("running", c.scope) || !taken("running", task.ScopeUntilStarted) || !taken("cancel", c.scope) {
					t.Fatal("a waiting task does not hold its key")
				}
				claimed, w := x.claim(failBell)
				x.claim(bell)
				x.finish(claimed, w, failing)
				_, err := x.s.Cancel(x.ctx, x.app.ID, victim)
				x.ok(err)
				for key, want := range map[string]bool{"running": c.running, "failed": c.failed, "cancel": c.cancel} {
					if got := taken(key, c.scope); got != want {
						t.Errorf("%s: taken %v, want %v", key, got, want)
					}
				}
			})
		})
	}
}

func TestUniqueKeepAndReplace(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		old, bell := x.created(unique("k", task.ScopeUntilFinished, 0))
		keep := x.sub(unique("k", task.ScopeUntilFinished, task.OnConflictKeep))
		x.submit(keep)
		if !keep.Kept || keep.TaskID != old || keep.Created || keep.Err != nil {
			t.Fatalf("keep: %+v", keep)
		}
		replace := x.sub(unique("k", task.ScopeUntilFinished, task.OnConflictReplace))
		x.submit(replace)
		if !replace.Created {
			t.Fatalf("replace: %+v", replace)
		}
		if row := x.state(old); row.State != task.Cancelled || row.Reason != task.Replaced {
			t.Errorf("the replaced one is %+v", row)
		}
		if c, _ := x.claim(bell); len(c.Tasks) != 0 {
			t.Error("the replaced one was started")
		}
		newBell := task.Bell{ID: x.state(replace.ID).Holder}
		if c, _ := x.claim(newBell); len(c.Tasks) != 1 {
			t.Fatal("the new one was not started")
		}
		late := x.sub(unique("k", task.ScopeUntilFinished, task.OnConflictReplace))
		x.submit(late)
		if e := wantKind(t, late.Err, task.Conflict, "unique_key_taken"); e.TaskID != replace.ID {
			t.Errorf("names %d", e.TaskID)
		}
		if x.state(replace.ID).State != task.Running {
			t.Error("a running one was replaced")
		}
		stillTaken := x.sub(unique("k", task.ScopeUntilFinished, task.OnConflictKeep))
		x.submit(stillTaken)
		if stillTaken.TaskID != replace.ID {
			t.Error("the key did not go back to the running holder")
		}
		foreign := x.sub(func(s *task.Submission, h *task.BodyHead) { s.AppID = x.other.ID; h.UniqueKey = "k" })
		x.submit(foreign)
		if !foreign.Created {
			t.Error("keys are shared between apps")
		}
	})
}

func TestEqualUniqueKeysInOneFlush(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		a := x.sub(unique("k", task.ScopeUntilFinished, 0))
		b := x.sub(unique("k", task.ScopeUntilFinished, task.OnConflictReject))
		c := x.sub(unique("k", task.ScopeUntilFinished, task.OnConflictReplace))
		d := x.sub(unique("k", task.ScopeUntilFinished, task.OnConflictKeep))
		e := x.sub(nil)
		bells := x.submit(a, b, c, d, e)
		wantKind(t, b.Err, task.Conflict, "unique_key_taken")
		if !a.Created || !c.Created || !e.Created || d.TaskID != c.ID || !d.Kept {
			t.Errorf("a %+v c %+v d %+v e %+v", a, c, d, e)
		}
		if x.state(a.ID).State != task.Cancelled || x.state(c.ID).State != task.Waiting {
			t.Error("the replaced one waits or the new one does not")
		}
		ids := map[int64]bool{}
		for _, b := range bells {
			if ids[b.ID] {
				t.Error("a bell id twice")
			}
			ids[b.ID] = true
		}
	})
}

func TestUniqueWindowEnds(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		x.created(unique("w", task.ScopeWindow, 0))
		x.ok(x.s.Exec(x.ctx, "UPDATE unique_keys SET expires_at=1"))
		x.created(unique("w", task.ScopeWindow, 0))
		again := x.sub(unique("w", task.ScopeWindow, task.OnConflictReject))
		x.submit(again)
		wantKind(t, again.Err, task.Conflict, "unique_key_taken")
	})
}

func TestOneGuiltyTaskRollsTheFlushBack(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		good, bad := x.sub(nil), x.sub(nil)
		bad.Labels = []task.Label{{Key: "a", Value: "1"}, {Key: "a", Value: "1"}}
		_, err := x.s.Submit(x.ctx, []*task.Request{{AppID: x.app.ID, Tasks: []*task.Submission{good}}, {AppID: x.app.ID, Tasks: []*task.Submission{bad}}})
		if err == nil {
			t.Fatal("doubled labels were taken")
		}
		if x.count("tasks") != 0 || x.count("bells") != 0 || x.count("payloads") != 0 {
			t.Error("something of the flush was written")
		}
		good.ID++ // ids of a failed flush are not used again by callers; any free one will do
		x.submit(x.sub(nil))
	})
}

func TestUnknownCommit(t *testing.T) {
	url := sqldbtest.URL(t, "mysql")
	for _, committed := range []bool{true, false} {
		t.Run(fmt.Sprintf("committed=%v", committed), func(t *testing.T) {
			s := sqldbtest.Open(t, url)
			x := &front{t: t, s: s, ctx: t.Context(), kind: 1}
			var err error
			x.lane, err = s.EnsureLane(x.ctx, "default", task.Normal)
			x.ok(err)
			x.app.ID = 1
			before := x.count("tasks")
			var mu sync.Mutex
			lost := 0
			sqldb.HookMySQL(t, s, url, func(query string, _ func() ([][2]string, error), run func() error) error {
				mu.Lock()
				first := sqldb.IsCommit(query) && lost == 0
				if first {
					lost++
				}
				mu.Unlock()
				if first && !committed {
					return errConnectionDied
				}
				err := run()
				if first {
					return errConnectionDied
				}
				return err
			})
			sub := x.sub(nil)
			bells := x.submit(sub)
			if lost != 1 || !sub.Created || len(bells) != 1 {
				t.Fatalf("lost %d commits, %+v", lost, sub)
			}
			if n := x.count("tasks") - before; n != 1 {
				t.Errorf("%d tasks", n)
			}
			if row := x.state(sub.ID); row.Holder != bells[0].ID {
				t.Errorf("holder %d, bell %d", row.Holder, bells[0].ID)
			}
		})
	}
}
