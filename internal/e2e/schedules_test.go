package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

// slotCalls is the world outside as schedules see it: it counts which slot of which schedule called it, and how many calls
// of one schedule ran at once.
type slotCalls struct {
	*httptest.Server
	mu     sync.Mutex
	calls  map[string]map[time.Time]int // by schedule
	at     map[string]map[time.Time]time.Time
	open   map[string]int
	most   map[string]int // calls at once, by schedule
	answer func(name string) (status int, after time.Duration)
}

func newSlotCalls(t *testing.T, answer func(name string) (int, time.Duration)) *slotCalls {
	t.Helper()
	s := &slotCalls{calls: map[string]map[time.Time]int{}, at: map[string]map[time.Time]time.Time{},
		open: map[string]int{}, most: map[string]int{}, answer: answer}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// ServeHTTP takes {"name", "slot"}.
func (s *slotCalls) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	now := time.Now()
	var body struct {
		Name string
		Slot time.Time
	}
	if err := json.NewDecoder(req.Body).Decode(&body); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	if s.calls[body.Name] == nil {
		s.calls[body.Name], s.at[body.Name] = map[time.Time]int{}, map[time.Time]time.Time{}
	}
	s.calls[body.Name][body.Slot.UTC()]++
	s.at[body.Name][body.Slot.UTC()] = now
	s.open[body.Name]++
	s.most[body.Name] = max(s.most[body.Name], s.open[body.Name])
	s.mu.Unlock()
	status, after := s.answer(body.Name)
	select {
	case <-time.After(after):
	case <-req.Context().Done():
	}
	s.mu.Lock()
	s.open[body.Name]--
	s.mu.Unlock()
	w.WriteHeader(status)
}

// latest is how long after its slot the latest call came, of slots in (from, to].
func (s *slotCalls) latest(from, to time.Time) (most time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, slots := range s.at {
		for slot, at := range slots {
			if slot.After(from) && !slot.After(to) {
				most = max(most, at.Sub(slot))
			}
		}
	}
	return most
}

func (s *slotCalls) count(name string, slot time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[name][slot.UTC()]
}

func (s *slotCalls) atOnce(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most[name]
}

// schedule makes one that calls the receiver, with fields beyond.
func (s *slotCalls) schedule(t *testing.T, c *client, name, fields string) string {
	t.Helper()
	var got struct{ ID string }
	c.must(t, "POST", "/v1/schedules", fmt.Sprintf(`{"name":%q,"spec":{"everyMs":1000},%s"task":{"kind":"http","retry":{"policy":"fixed","baseMs":100,"max":5},
		"payload":{"url":%q,"body":{"name":"{{schedule.name}}","slot":"{{slot}}"}}}}`, name, fields, s.URL), &got)
	return got.ID
}

// shownSlot is what these tests read of a slot.
type shownSlot struct {
	Slot, LastSlot time.Time
	Count          int
	TaskID         *string
	Outcome        string
	Origin         string
}

// slotsOf reads the slots of a schedule, newest first.
func slotsOf(t *testing.T, c *client, id string) (out []shownSlot) {
	t.Helper()
	for cursor := ""; ; {
		var page struct {
			Items      []shownSlot
			NextCursor *string
		}
		c.must(t, "GET", "/v1/schedules/"+id+"/slots?limit=1000"+cursor, "", &page)
		out = append(out, page.Items...)
		if page.NextCursor == nil {
			return out
		}
		cursor = "&cursor=" + *page.NextCursor
	}
}

// check wants a row of each second up to an instant, and a call for each that fired, once.
func (s *slotCalls) check(t *testing.T, c *client, id, name string, until time.Time) (fired int) {
	t.Helper()
	var next time.Time // the slot after this one
	for _, slot := range slotsOf(t, c, id) {
		if slot.Slot.After(until) {
			continue
		}
		if !next.IsZero() && !slot.LastSlot.Equal(next.Add(-time.Second)) {
			t.Errorf("%s: the slot before %v should be a second earlier, is %v", name, next, slot.LastSlot)
		}
		next = slot.Slot
		if (slot.TaskID != nil) != (slot.Outcome == "fired") {
			t.Errorf("%s: %+v", name, slot)
		}
		if slot.Outcome != "fired" {
			continue
		}
		fired++
		eventually(t, 20*time.Second, fmt.Sprintf("%s: the slot %v runs", name, slot.Slot), func() bool { return s.count(name, slot.Slot) > 0 })
		if n := s.count(name, slot.Slot); n != 1 {
			t.Errorf("%s: the slot %v ran %d times", name, slot.Slot, n)
		}
	}
	return fired
}

// killFor is how long schedulers are killed with each number of them.
func killFor(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("TASKWEIR_TEST_KILL_FOR")
	if text == "" {
		return 3 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Two and then three schedulers are killed at random (kill -9) and started again: no slot of any schedule is missing, none runs
// twice, and while one of them lives none starts later than 5 s. At the end all are killed, and a fresh one takes over.
func TestKilledSchedulersMissNoSlot(t *testing.T) {
	t.Parallel()
	needServers(t)
	c, err := testkit.StartCluster(t.Context(), testkit.ClusterOptions{Programs: programs(t), Schedulers: 2, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	logsOnFailure(t, c.Processes()...)
	api := newClient(t, c.BaseURL, c.Keys.Bootstrap)
	out := newSlotCalls(t, func(string) (int, time.Duration) { return http.StatusOK, 0 })
	ids := map[string]string{}
	for i := range 24 {
		name := "s" + strconv.Itoa(i)
		ids[name] = out.schedule(t, api, name, fmt.Sprintf(`"overlap":%q,`, []string{"allow", "skip", "queue", "allow"}[i%4]))
	}
	began := time.Now()
	kills := killSome(t, c, killFor(t))
	if err := c.AddScheduler(t.Context()); err != nil {
		t.Fatal(err)
	}
	kills += killSome(t, c, killFor(t))
	alive := time.Now()
	pause(t, 2*time.Second)

	for _, s := range c.Schedulers {
		s.Kill()
	}
	killed := time.Now()
	if err := c.Schedulers[0].Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	ready := time.Since(killed)
	pause(t, 7*time.Second)
	until := time.Now().Add(-5 * time.Second)
	fired := 0
	for name, id := range ids {
		fired += out.check(t, api, id, name, until)
	}
	during, after := out.latest(began.Add(time.Second), alive), out.latest(alive, until)
	t.Logf("%d kills, %d slots fired; the latest started %v after its instant, and %v when a fresh scheduler (ready after %v) took over from all",
		kills, fired, during.Round(time.Millisecond), after.Round(time.Millisecond), ready.Round(time.Millisecond))
	if during > 5*time.Second {
		t.Error("later than 5 s while a scheduler lived")
	}
	if after > ready+5*time.Second {
		t.Error("a fresh scheduler took over later than 5 s")
	}
}

// killSome kills schedulers at random, never the last one, and starts them again.
func killSome(t *testing.T, c *testkit.Cluster, during time.Duration) (kills int) {
	t.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); {
		pause(t, time.Duration(rand.IntN(1500))*time.Millisecond)
		victims := rand.Perm(len(c.Schedulers))[1:]
		for _, i := range victims {
			c.Schedulers[i].Kill()
			kills++
		}
		pause(t, time.Duration(rand.IntN(1500))*time.Millisecond)
		for _, i := range victims {
			if err := c.Schedulers[i].Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return kills
}

func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// What the overlap policies promise, on a standalone that is killed while runs are open: runs of skip and queue never overlap,
// those of queue come one after the other, cancel_previous ends what runs, and too many failures pause.
func TestOverlapPoliciesSurviveAKilledWorker(t *testing.T) {
	t.Parallel()
	s := standalone(t, testkit.StandaloneOptions{})
	api := newClient(t, s.BaseURL, s.Key)
	out := newSlotCalls(t, func(name string) (int, time.Duration) {
		if name == "failing" {
			return http.StatusInternalServerError, 0
		}
		return http.StatusOK, 1300 * time.Millisecond
	})
	ids := map[string]string{}
	for _, overlap := range []string{"allow", "skip", "queue", "cancel_previous"} {
		ids[overlap] = out.schedule(t, api, overlap, fmt.Sprintf(`"overlap":%q,`, overlap))
	}
	var failing struct{ ID string }
	api.must(t, "POST", "/v1/schedules", fmt.Sprintf(`{"name":"failing","spec":{"everyMs":1000},"overlap":"skip","maxConsecutiveFailures":3,"task":{"kind":"http","retry":{"max":0},
		"payload":{"url":%q,"body":{"name":"failing","slot":"{{slot}}"}}}}`, out.URL), &failing)
	eventually(t, 10*time.Second, "runs are open", func() bool { return out.atOnce("queue") > 0 && out.atOnce("skip") > 0 })
	s.Kill()
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "enough slots were decided", func() bool { return len(slotsOf(t, api, ids["skip"])) > 10 })
	for _, overlap := range []string{"skip", "queue"} {
		if n := out.atOnce(overlap); n != 1 {
			t.Errorf("%s: %d runs at once", overlap, n)
		}
	}
	if n := out.atOnce("allow"); n < 2 {
		t.Errorf("allow: %d runs at once, though they take longer than their interval", n)
	}
	outcomes := map[string]map[string]int{}
	for overlap, id := range ids {
		outcomes[overlap] = map[string]int{}
		for _, slot := range slotsOf(t, api, id) {
			outcomes[overlap][slot.Outcome]++
		}
	}
	if outcomes["skip"]["skipped_overlap"] == 0 || outcomes["queue"]["held"] == 0 || outcomes["queue"]["skipped_overlap"] != 0 ||
		outcomes["allow"]["fired"] < 10 || outcomes["cancel_previous"]["fired"] < 5 {
		t.Errorf("outcomes: %v", outcomes)
	}
	var cancelled struct{ Items []shownTask }
	api.must(t, "GET", "/v1/tasks?state=cancelled&limit=100", "", &cancelled)
	if len(cancelled.Items) < 3 {
		t.Errorf("%d runs were cancelled", len(cancelled.Items))
	}
	for _, task := range cancelled.Items {
		if task.Reason != "by_schedule" && task.Reason != "" {
			t.Errorf("cancelled: %+v", task)
		}
	}
	var paused struct {
		Paused              bool
		PausedReason        string
		ConsecutiveFailures int
	}
	eventually(t, 10*time.Second, "the failing schedule is paused", func() bool {
		api.must(t, "GET", "/v1/schedules/"+failing.ID, "", &paused)
		return paused.Paused
	})
	if paused.PausedReason != "failures" || paused.ConsecutiveFailures < 3 {
		t.Errorf("%+v", paused)
	}
	ordered(t, api, ids["queue"])
}

// ordered wants the runs of a schedule to have started in the order of their slots, each within 100 ms after the end of the one
// before, but for the one that was rescued.
func ordered(t *testing.T, c *client, id string) {
	t.Helper()
	var list []string
	slots := slotsOf(t, c, id)
	for i := len(slots) - 1; i >= 0; i-- {
		if slots[i].TaskID != nil {
			list = append(list, *slots[i].TaskID)
		}
	}
	type times struct {
		ID                    string
		StartedAt, FinishedAt *time.Time
		Losses                int
	}
	var page struct{ Items []times }
	c.must(t, "GET", "/v1/tasks?ids="+strings.Join(list, ","), "", &page)
	gaps := 0
	for i := 1; i < len(page.Items); i++ {
		before, one := page.Items[i-1], page.Items[i]
		if before.FinishedAt == nil || one.StartedAt == nil || one.Losses > 0 {
			continue
		}
		gap := one.StartedAt.Sub(*before.FinishedAt)
		if gap < 0 {
			t.Errorf("task %s started %v before the end of the one before", one.ID, -gap)
		}
		if gap > 100*time.Millisecond {
			gaps++
			t.Logf("task %s started %v after the end of the one before", one.ID, gap)
		}
	}
	if gaps > 1+len(page.Items)/4 { // the machine is shared by other tests, and the restart is in it
		t.Errorf("%d of %d runs waited longer than 100 ms", gaps, len(page.Items))
	}
}
