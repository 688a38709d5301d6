package rest_test

import (
	"context"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/runner/system"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (w *world) installed() {
	w.t.Helper()
	keep := system.Retention{SucceededMs: time.Hour.Milliseconds(), OthersMs: time.Hour.Milliseconds()}
	if err := system.Install(context.Background(), w.store, w.store.Clock().Now(), keep); err != nil {
		w.t.Fatal(err)
	}
}

// Every app's completions and the purge stand in one queue: no app may hold it for all.
func TestOnlyAdminsTouchWhatIsTaskweirsOwn(t *testing.T) {
	w := newWorld(t)
	w.installed()
	_, manage := w.newApp("b", "manage")
	other := w.as(manage)
	for _, verb := range []string{"/pause", "/resume"} {
		if p := other.do("POST", "/v1/queues/_system"+verb, "").want(403).problem(); p.Code != "scope_too_small" {
			t.Errorf("%s: %+v", verb, p)
		}
	}
	other.do("GET", "/v1/queues/_system", "").want(404)
	if q := decode[apiv1.Queue](w.do("GET", "/v1/queues/_system", "").want(200)); q.Paused {
		t.Error("the queue is paused")
	}
	w.do("POST", "/v1/queues/_system/pause", "").want(200)
	w.do("POST", "/v1/queues/_system/resume", "").want(200)
	seen := func(w *world) (n int) {
		for _, k := range decode[apiv1.List[apiv1.Kind]](w.do("GET", "/v1/kinds?limit=1000", "").want(200)).Items {
			if k.Name == system.KindPurge {
				n++
			}
		}
		for _, q := range decode[apiv1.List[apiv1.Queue]](w.do("GET", "/v1/queues?limit=1000", "").want(200)).Items {
			if q.Name == "_system" {
				n++
			}
		}
		return n
	}
	if mine, theirs := seen(w), seen(other); mine != 2 || theirs != 0 {
		t.Errorf("an admin sees %d of Taskweir's own, another app %d", mine, theirs)
	}
	other.do("PUT", "/v1/kinds/system.mine", "").refused(422, "name", "reserved")
}
