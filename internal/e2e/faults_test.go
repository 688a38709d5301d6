package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

// down is how long each server stays away.
const down = 1500 * time.Millisecond

// Every server is taken away and brought back while load runs: nothing accepted is lost, nothing runs twice in one epoch,
// and everything goes on without restarting a single process of Taskweir.
func serversComeAndGoUnderLoad(t *testing.T) {
	c := cluster(t)
	logsOnFailure(t, c.Processes()...)
	before := pids(c)
	api, rec := newClient(t, c.BaseURL, c.Keys.Bootstrap), newReceiver(t)
	l := startLoad(t, api, rec)
	recovered(t, api, rec, "at the start")

	outage(t, c.Redis.Process, func() { accepts(t, api, rec); recovered(t, api, rec, "without Redis") })
	recovered(t, api, rec, "Redis")
	outage(t, c.Lookupd.Process, func() { recovered(t, api, rec, "without nsqlookupd") })
	recovered(t, api, rec, "nsqlookupd")
	outage(t, c.NSQD[0].Process, func() { accepts(t, api, rec) })
	recovered(t, api, rec, "nsqd")
	outage(t, c.MariaDB.Process, func() { says503(t, api, rec) })
	recovered(t, api, rec, "MariaDB")
	t.Log("and once more with kill -9")
	c.MariaDB.Kill()
	c.NSQD[0].Kill()
	c.Redis.Kill()
	time.Sleep(down)
	revive(t)
	recovered(t, api, rec, "all at once, killed")

	l.stop(t)
	if after := pids(c); after != before {
		t.Errorf("processes were restarted: %s, now %s", before, after)
	}
	nothingLeft(t, c)
}

// outage stops a server, does something meanwhile, and starts it again.
func outage(t *testing.T, p *testkit.Process, meanwhile func()) {
	t.Helper()
	began := time.Now()
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	stopped := time.Since(began)
	back := time.After(down)
	meanwhile()
	<-back
	began = time.Now()
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s took %v to stop and %v to start", p.Name(), stopped.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
}

// recovered wants a new task to be done soon.
func recovered(t *testing.T, c *client, r *receiver, what string) {
	t.Helper()
	began := time.Now()
	var id string
	eventually(t, 15*time.Second, "submits are accepted: "+what, func() bool {
		answer, err := c.do(t.Context(), http.MethodPost, "/v1/tasks", call(r, "/ok"), "")
		if err != nil || answer.status != http.StatusCreated {
			return false
		}
		id = idOf(t, answer)
		return true
	})
	eventually(t, 20*time.Second, "a task runs: "+what, func() bool { return c.get(t, id).State == "succeeded" })
	t.Logf("%s: a new task was done after %v", what, time.Since(began).Round(time.Millisecond))
}

// accepts wants a submit to be accepted right now: one of three in a row within a second, since this machine may be busy.
func accepts(t *testing.T, c *client, r *receiver) {
	t.Helper()
	fastest := time.Hour
	for range 3 {
		began := time.Now()
		c.submit(t, call(r, "/ok"))
		if fastest = min(fastest, time.Since(began)); fastest <= time.Second {
			return
		}
	}
	t.Errorf("the fastest of three submits took %v", fastest)
}

// says503 wants a submit to be refused in the documented way right now.
func says503(t *testing.T, c *client, r *receiver) {
	t.Helper()
	began := time.Now()
	answer, err := c.do(t.Context(), http.MethodPost, "/v1/tasks", call(r, "/ok"), "")
	if err != nil {
		t.Fatal(err)
	}
	if answer.status != http.StatusServiceUnavailable || answer.header.Get("Retry-After") == "" {
		t.Errorf("without the database a submit is answered %s, Retry-After %q", answer, answer.header.Get("Retry-After"))
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the refusal took %v", took)
	}
}

// nothingLeft wants no bells or claims of the load to be left over in the database. A bell that is due later may list a task that
// another test of this cluster cancelled: it is dropped when it is due (protocol, I3).
func nothingLeft(t *testing.T, c *testkit.Cluster) {
	t.Helper()
	left := ""
	defer func() {
		if !t.Failed() {
			return
		}
		what, err := c.MariaDB.Query(t.Context(), "SELECT t.id, l.queue, t.state, t.epoch, t.failures, t.losses, t.flags, t.holder, t.worker_id, t.due_at - UNIX_TIMESTAMP(NOW(3)) * 1000, b.id, b.direct"+
			" FROM taskweir.tasks t JOIN taskweir.lanes l ON l.id = t.lane_id LEFT JOIN taskweir.bells b ON b.id = t.holder WHERE t.state IN (1, 2, 3) LIMIT 20")
		bells, berr := c.MariaDB.Query(t.Context(), "SELECT b.*, l.queue, UNIX_TIMESTAMP(NOW(3)) * 1000 AS now FROM taskweir.bells b JOIN taskweir.lanes l ON l.id = b.lane_id LIMIT 20")
		t.Logf("bells: %s %v", bells, berr)
		t.Logf("bells, claims, tasks: %s\nid queue state epoch failures losses flags holder worker due bell direct\n%s\n%v", left, what, err)
	}()
	eventually(t, 10*time.Second, "no bells and claims are left over", func() bool {
		var err error
		left, err = c.MariaDB.Query(t.Context(), "SELECT (SELECT COUNT(*) FROM taskweir.bells WHERE due_at <= UNIX_TIMESTAMP(NOW(3)) * 1000), (SELECT COUNT(*) FROM taskweir.claims), (SELECT COUNT(*) FROM taskweir.tasks WHERE state IN (1, 2, 3))")
		if err != nil {
			t.Fatal(err)
		}
		return left == "0\t0\t0"
	})
}

func pids(c *testkit.Cluster) string {
	s := ""
	for _, p := range c.Processes() {
		s += fmt.Sprintf("%s=%d ", p.Name(), p.PID())
	}
	return s
}

// call is a task that calls a path of the receiver.
func call(r *receiver, path string) string {
	return fmt.Sprintf(`{"kind":"http","payload":{"url":"%s%s"},"retry":{"policy":"fixed","baseMs":200,"max":20}}`, r.URL, path)
}
