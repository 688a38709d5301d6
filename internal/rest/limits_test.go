package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

func TestLimitsAreSetAndShown(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, s *sqldb.Store) {
		w := newWorldOn(t, s)
		q := decode[apiv1.Queue](w.do("PUT", "/v1/queues/mail", `{"limits":{"rate":{"tasks":50},"concurrency":7},"paused":true}`).want(200))
		if r := q.Limits.Rate; !q.Paused || *q.Limits.Concurrency != 7 || r == nil || *r != (apiv1.Rate{Tasks: 50, PerMs: 1000, Burst: 5}) {
			t.Errorf("queue %+v", q)
		}
		q = decode[apiv1.Queue](w.do("PUT", "/v1/queues/mail", `{}`).want(200))
		if q.Paused || q.Limits.Rate != nil || q.Limits.Concurrency != nil {
			t.Errorf("queue without limits %+v", q)
		}
		k := decode[apiv1.LimitKey](w.do("PUT", "/v1/limit-keys/customer:7@x", `{"limits":{"concurrency":3}}`).want(200))
		if k.Key != "customer:7@x" || *k.Limits.Concurrency != 3 || k.Running == nil || *k.Running != 0 {
			t.Errorf("key %+v", k)
		}
		if k = decode[apiv1.LimitKey](w.do("POST", "/v1/limit-keys/customer:7@x/pause", "").want(200)); !k.Paused {
			t.Errorf("paused %+v", k)
		}
		if k = decode[apiv1.LimitKey](w.do("POST", "/v1/limit-keys/customer:7@x/resume", "").want(200)); k.Paused || *k.Limits.Concurrency != 3 {
			t.Errorf("resumed %+v", k)
		}
		for i := range 5 {
			w.do("PUT", fmt.Sprint("/v1/limit-keys/a", i), `{"paused":true}`).want(200)
		}
		var names []string
		for cursor := ""; ; {
			page := decode[apiv1.List[apiv1.LimitKey]](w.do("GET", "/v1/limit-keys?limit=2&cursor="+cursor, "").want(200))
			for _, k := range page.Items {
				names = append(names, k.Key)
			}
			if page.NextCursor == nil {
				break
			}
			cursor = *page.NextCursor
		}
		if !slices.Equal(names, []string{"a0", "a1", "a2", "a3", "a4", "customer:7@x"}) {
			t.Errorf("listed %v", names)
		}
		w.do("DELETE", "/v1/limit-keys/a0", "").want(204)
		if p := w.do("GET", "/v1/limit-keys/a0", "").want(404).problem(); p.Code != "limit_key_not_found" {
			t.Errorf("%+v", p)
		}
	})
}

func TestErrorsOfLimitsNameFieldAndRule(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, s *sqldb.Store) {
		w := newWorldOn(t, s)
		for body, want := range map[string][2]string{
			`{"limits":{"concurrency":0}}`:                    {"limits.concurrency", "range"},
			`{"limits":{"concurrency":"3"}}`:                  {"limits.concurrency", "type"},
			`{"limits":{"rate":{}}}`:                          {"limits.rate.tasks", "required"},
			`{"limits":{"rate":{"tasks":0}}}`:                 {"limits.rate.tasks", "range"},
			`{"limits":{"rate":{"tasks":1,"perMs":99}}}`:      {"limits.rate.perMs", "range"},
			`{"limits":{"rate":{"tasks":1,"burst":1000001}}}`: {"limits.rate.burst", "range"},
			`{"limits":{"rate":{"tasks":1,"perSecond":1}}}`:   {"limits.rate.perSecond", "unknown_field"},
			`{"limits":{"speed":1}}`:                          {"limits.speed", "unknown_field"},
			`{"paused":1}`:                                    {"paused", "type"},
		} {
			for _, path := range []string{"/v1/queues/q", "/v1/limit-keys/k"} {
				p := w.do("PUT", path, body).want(422).problem()
				if len(p.Errors) != 1 || p.Errors[0].Field != want[0] || p.Errors[0].Rule != want[1] {
					t.Errorf("%s %s: %+v", path, body, p.Errors)
				}
			}
		}
		longest := strings.Repeat("k", task.MaxLimitKey)
		w.do("PUT", "/v1/limit-keys/"+longest, `{}`).want(200)
		w.do("POST", "/v1/tasks", `{"kind":"echo","limitKey":"`+longest+`"}`).want(201)
		for _, key := range []string{"a b", longest + "k", "über", "键", "a\u0000", "'"} {
			quoted, _ := json.Marshal(key)
			if p := w.do("POST", "/v1/tasks", `{"kind":"echo","limitKey":`+string(quoted)+`}`).want(422).problem(); p.Errors[0].Field != "limitKey" || p.Errors[0].Rule != "pattern" {
				t.Errorf("%s: %+v", key, p)
			}
			if p := w.do("PUT", "/v1/limit-keys/"+url.PathEscape(key), `{}`).want(422).problem(); p.Errors[0].Field != "key" || p.Errors[0].Rule != "pattern" {
				t.Errorf("%s: %+v", key, p)
			}
		}
	})
}

// A task that waits for a limit says for which.
func TestVerdictsNameTheLimit(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, s *sqldb.Store) {
		w := newWorldOn(t, s)
		ctx := context.Background()
		key := "k" // what runs of another key counts there only
		submit := func() apiv1.Task {
			return decode[apiv1.Task](w.do("POST", "/v1/tasks", `{"kind":"echo","limitKey":"`+key+`"}`).want(201))
		}
		verdict := func(id apiv1.ID) string {
			v := decode[apiv1.Task](w.do("GET", fmt.Sprint("/v1/tasks/", int64(id)), "").want(200))
			if v.LimitKey != key {
				t.Errorf("limit key %q", v.LimitKey)
			}
			return v.Verdict.Code
		}
		worker, err := w.store.NewWorker(ctx, task.WorkerInfo{Slots: 10, Kinds: []string{"echo"}})
		if err != nil {
			t.Fatal(err)
		}
		claim := func(id apiv1.ID) int {
			row, err := w.store.State(ctx, 0, int64(id))
			if err != nil {
				t.Fatal(err)
			}
			c, err := w.store.Claim(ctx, task.ClaimRequest{WorkerID: worker, LaneID: row.LaneID, Bells: []int64{row.Holder}, Max: 10})
			if err != nil {
				t.Fatal(err)
			}
			return len(c.Tasks)
		}
		for _, set := range []struct{ path, name string }{{"/v1/queues/default", "queue_paused"}, {"/v1/limit-keys/other", "limit_key_paused"}} {
			a, b := submit(), submit()
			w.do("PUT", set.path, `{"paused":true}`).want(200)
			if got := verdict(a.ID); got != set.name || claim(a.ID) != 0 {
				t.Errorf("%s paused: %s", set.path, got)
			}
			w.do("PUT", set.path, `{"limits":{"concurrency":1}}`).want(200)
			if claim(a.ID) != 1 || claim(b.ID) != 0 {
				t.Error("not one of two started")
			}
			if got := verdict(b.ID); got != "concurrency_limited" {
				t.Errorf("%s with one place: %s", set.path, got)
			}
			w.do("PUT", set.path, `{"limits":{"rate":{"tasks":1,"perMs":60000}}}`).want(200)
			if claim(b.ID) != 1 {
				t.Error("the first within a rate did not start")
			}
			c := submit()
			if got := verdict(c.ID); got != "rate_limited" || claim(c.ID) != 0 {
				t.Errorf("%s with a rate: %s", set.path, got)
			}
			w.do("PUT", set.path, `{}`).want(200)
			if got := verdict(c.ID); got != "behind_older" || claim(c.ID) != 1 {
				t.Errorf("%s without limits: %s", set.path, got)
			}
			key = "other"
		}
	})
}
