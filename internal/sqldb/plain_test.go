package sqldb_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

func TestLanesAndPause(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		wantKind(t, x.s.SetQueuePaused(x.ctx, "nope", true), task.NotFound, "queue_not_found")
		for range 2 {
			x.ok(x.s.SetQueuePaused(x.ctx, "default", true))
		}
		high, err := x.s.EnsureLane(x.ctx, "default", task.High)
		x.ok(err)
		mail, err := x.s.EnsureLane(x.ctx, "mail", task.High)
		x.ok(err)
		if !high.Paused || mail.Paused || high.ID == x.lane.ID || high.Topic() != "taskweir.default.high" {
			t.Errorf("high %+v, mail %+v", high, mail)
		}
		lanes, err := x.s.Lanes(x.ctx)
		x.ok(err)
		if len(lanes) != 3 || !lanes[0].Paused || lanes[0].BellSize < 1 || lanes[0].Credit < 1 {
			t.Errorf("%+v", lanes)
		}
		x.ok(x.s.SetQueuePaused(x.ctx, "default", false))
		lanes, err = x.s.Lanes(x.ctx)
		x.ok(err)
		if slices.ContainsFunc(lanes, func(l task.Lane) bool { return l.Paused }) {
			t.Errorf("resumed: %+v", lanes)
		}
	})
}

func TestEnsureLaneAndKindsAtOnce(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		var wg sync.WaitGroup
		lanes, kinds := make([]task.Lane, 8), make([]map[string]int32, 8)
		for i := range lanes {
			wg.Go(func() {
				var err error
				if lanes[i], err = x.s.EnsureLane(x.ctx, "race", task.Low); err != nil {
					t.Error(err)
				}
				if kinds[i], err = x.s.DeclareKinds(x.ctx, []string{"echo", "mine", "yours", "mine"}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for i := range lanes {
			if lanes[i].ID != lanes[0].ID || lanes[i].ID == 0 || len(kinds[i]) != 3 || kinds[i]["mine"] != kinds[0]["mine"] || kinds[i]["echo"] != x.kind {
				t.Errorf("%d: %+v %v", i, lanes[i], kinds[i])
			}
		}
		all, err := x.s.Kinds(x.ctx)
		x.ok(err)
		if len(all) != 4 {
			t.Errorf("kinds %v", all)
		}
	})
}

func TestQueueDepths(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		now := x.s.Clock().Now()
		x.created(nil)
		gone, _ := x.created(nil)
		_, err := x.s.Cancel(x.ctx, 0, gone)
		x.ok(err)
		x.created(func(s *task.Submission, _ *task.BodyHead) { s.DueAt = now + 3_600_000 })
		x.created(func(s *task.Submission, _ *task.BodyHead) { s.AppID = x.other.ID })
		_, bell := x.created(nil)
		x.claim(bell)
		_, err = x.s.EnsureLane(x.ctx, "empty", task.Normal)
		x.ok(err)
		later := x.s.Clock().Now() + 10
		all, err := x.s.Queues(x.ctx, 0, later)
		x.ok(err)
		own, err := x.s.Queues(x.ctx, x.app.ID, later)
		x.ok(err)
		if len(all) != 2 || all[0].Queue != "default" || all[1] != (task.QueueDepth{Queue: "empty"}) {
			t.Fatalf("%+v", all)
		}
		if d := all[0]; d.Waiting != 2 || d.Scheduled != 1 || d.Running != 1 || d.AtLeast || d.OldestDueAt < now-1000 || d.OldestDueAt > later {
			t.Errorf("all apps: %+v", d)
		}
		if d := own[0]; d.Waiting != 1 || d.Scheduled != 1 || d.Running != 1 {
			t.Errorf("one app: %+v", d)
		}
	})
}

func TestApps(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		a := x.app
		a.Name, a.CallbackURL, a.Paused, a.Weight = "né", "https://x/", true, 5
		for range 2 { // the second changes nothing and is no error
			x.ok(x.s.UpdateApp(x.ctx, a))
		}
		got, err := x.s.AppByKey(x.ctx, a.Key)
		x.ok(err)
		if got.ID != a.ID || got.Name != a.Name || got.CallbackURL != a.CallbackURL || !got.Paused || got.Weight != 5 || !slices.Equal(got.Secret, x.app.Secret) || got.CreatedAt != a.CreatedAt {
			t.Errorf("got %+v, want %+v", got, a)
		}
		wantKind(t, x.s.UpdateApp(x.ctx, task.App{ID: 999}), task.NotFound, "app_not_found")
		_, err = x.s.AppByID(x.ctx, 999)
		wantKind(t, err, task.NotFound, "")
		_, err = x.s.CreateApp(x.ctx, task.App{Key: a.Key})
		wantKind(t, err, task.Conflict, "app_key_taken")
		all, err := x.s.Apps(x.ctx)
		x.ok(err)
		if len(all) != 2 {
			t.Errorf("%d apps", len(all))
		}
	})
}

func TestAPIKeys(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		k := task.APIKey{AppID: x.app.ID, Hash: [32]byte{0, '\'', 9}, Hint: "abcd", Name: "ci", Scope: task.ScopeSubmit}
		made, err := x.s.CreateAPIKey(x.ctx, k)
		x.ok(err)
		_, err = x.s.CreateAPIKey(x.ctx, k)
		wantKind(t, err, task.Conflict, "api_key_exists")
		_, err = x.s.CreateAPIKey(x.ctx, task.APIKey{AppID: 999, Hash: [32]byte{7}})
		wantKind(t, err, task.NotFound, "app_not_found")
		got, err := x.s.APIKeyByHash(x.ctx, k.Hash)
		x.ok(err)
		if got != made || got.ID == 0 || got.CreatedAt == 0 {
			t.Errorf("got %+v, want %+v", got, made)
		}
		wantKind(t, x.s.RevokeAPIKey(x.ctx, x.other.ID, made.ID), task.NotFound, "")
		for range 2 {
			x.ok(x.s.RevokeAPIKey(x.ctx, x.app.ID, made.ID))
		}
		_, err = x.s.APIKeyByHash(x.ctx, k.Hash)
		wantKind(t, err, task.NotFound, "")
		list, err := x.s.APIKeys(x.ctx, x.app.ID)
		x.ok(err)
		if len(list) != 1 || list[0].RevokedAt == 0 {
			t.Errorf("%+v", list)
		}
	})
}

func TestBootstrapKey(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, s *sqldb.Store) {
		ctx := t.Context()
		take := func(hash byte) {
			if err := s.TakeBootstrapKey(ctx, task.App{Key: fmt.Sprintf("appbootstrap%04d", hash), Name: "default"}, [32]byte{hash}, "hint"); err != nil {
				t.Error(err)
			}
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { take(1) })
		}
		wg.Wait()
		k, err := s.APIKeyByHash(ctx, [32]byte{1})
		if err != nil || k.Scope != task.ScopeAdmin || !k.Bootstrap {
			t.Fatalf("%+v %v", k, err)
		}
		if err := s.RevokeAPIKey(ctx, k.AppID, k.ID); err != nil {
			t.Fatal(err)
		}
		take(1)
		if _, err := s.APIKeyByHash(ctx, [32]byte{1}); err != nil {
			t.Errorf("taken over again: %v", err)
		}
		take(2)
		if _, err := s.APIKeyByHash(ctx, [32]byte{1}); task.KindOf(err) != task.NotFound {
			t.Errorf("the old key still opens: %v", err)
		}
		renamed, err := s.Apps(ctx)
		if err != nil || len(renamed) != 1 {
			t.Fatalf("%+v %v", renamed, err)
		}
		was := renamed[0]
		renamed[0].Name = "renamed"
		if err := s.UpdateApp(ctx, renamed[0]); err != nil {
			t.Fatal(err)
		}
		take(3)
		if _, err := s.APIKeyByHash(ctx, [32]byte{2}); task.KindOf(err) != task.NotFound {
			t.Errorf("the old key still opens the renamed app: %v", err)
		}
		if err := s.UpdateApp(ctx, was); err != nil {
			t.Fatal(err)
		}
		apps, err := s.Apps(ctx)
		if err != nil || len(apps) != 2 || apps[0].Name != "default" || apps[0].Weight != 1 {
			t.Errorf("%+v %v", apps, err)
		}
	})
}

// TestASecretThatWasGivenUpDoesNotComeBack, whatever else is changed of the app at the same moment.
func TestASecretThatWasGivenUpDoesNotComeBack(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		read := func() task.App {
			a, err := x.s.AppByID(x.ctx, x.app.ID)
			x.ok(err)
			return a
		}
		stale := read()
		fresh := stale
		fresh.Secret, fresh.OldSecret, fresh.OldSecretUntil = []byte{0, 1, '\'', '\\'}, stale.Secret, 77
		x.ok(x.s.SetSecret(x.ctx, fresh, stale.Secret))
		stale.Weight = 9
		x.ok(x.s.UpdateApp(x.ctx, stale))
		if a := read(); a.Weight != 9 || !slices.Equal(a.Secret, fresh.Secret) || !slices.Equal(a.OldSecret, stale.Secret) || a.OldSecretUntil != 77 {
			t.Errorf("%+v", a)
		}
		other := stale
		other.Secret = []byte("lost the race")
		wantKind(t, x.s.SetSecret(x.ctx, other, stale.Secret), task.Conflict, "secret_changed")
		if a := read(); !slices.Equal(a.Secret, fresh.Secret) {
			t.Errorf("%+v", a)
		}
	})
}

func TestDrainWorker(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		w, err := x.s.NewWorker(x.ctx, task.WorkerInfo{Host: "h", Slots: 3})
		x.ok(err)
		x.ok(x.s.DrainWorker(x.ctx, w))
		if st, err := x.s.Beat(x.ctx, w, task.WorkerInfo{}); err != nil || st != task.WorkerDraining {
			t.Errorf("%v %v", st, err)
		}
		x.ok(x.s.RetireWorker(x.ctx, w))
		wantKind(t, x.s.DrainWorker(x.ctx, w), task.NotFound, "worker_not_found")
	})
}

func TestProbe(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		p, err := x.s.Probe(x.ctx)
		x.ok(err)
		if p.Version == "" || p.RoundTrip <= 0 || len(p.Schema) == 0 || p.Schema[0].AppliedAt == 0 || p.ClockOffset.Abs() > 2_000_000_000 {
			t.Errorf("%+v", p)
		}
		if x.s.MySQL() && p.Variables["innodb_flush_log_at_trx_commit"] == "" || !x.s.MySQL() && (p.Variables["journal_mode"] != "wal" || p.Variables["synchronous"] != "2") {
			t.Errorf("variables %v", p.Variables)
		}
		t.Logf("%s %s, clock %v ± %v, round trip %v, problems %+v", p.Engine, p.Version, p.ClockOffset, p.ClockError, p.RoundTrip, p.Problems)
	})
}
