package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/internal/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type hostClock struct{}

func (hostClock) Now() int64 { return time.Now().UnixMilli() }

var errRefused = errors.New("data too long")

// table is tasks by id from 1: true is purgeable.
type table struct {
	mu     sync.Mutex
	rows   []bool
	bad    map[int64]bool // cannot be deleted
	slots  int
	before int64 // how old what the last PurgeSlots deleted is
	steps  int
	fail   error
	reqs   []task.PurgeRequest
	folds  []int // what each call folds
	minute int64
	at     int64 // where the last fold ended
	others map[string]int
	ats    map[string]int64 // how old what is deleted is
}

func (m *table) TaskIDRange(context.Context) (int64, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return 1, int64(len(m.rows)), m.fail
}

func (m *table) Purge(_ context.Context, req task.PurgeRequest) (r task.PurgeReport, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.steps++
	m.reqs = append(m.reqs, req)
	if m.fail != nil {
		return r, m.fail
	}
	from := max(req.FromID, 1)
	to := min(from+int64(req.Limit), int64(len(m.rows))+1)
	if to-from == int64(req.Limit) {
		r.NextID = to
	}
	for id := from; id < to; id++ {
		if m.bad[id] && m.rows[id-1] {
			return r, errRefused
		}
	}
	for id := from; id < to; id++ {
		if m.rows[id-1] {
			m.rows[id-1] = false
			r.Deleted++
		}
	}
	return r, nil
}

func (m *table) PurgeSlots(_ context.Context, before int64, limit int) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = time.Now().UnixMilli() - before
	n := min(limit, m.slots)
	m.slots -= n
	return n, m.fail
}

// other is one of the small tables that are purged by time.
func (m *table) other(name string, at int64, limit int) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.others == nil {
		m.others, m.ats = map[string]int{"stats": 700, "audit": 3, "bulks": 501}, map[string]int64{}
	}
	n := min(limit, m.others[name])
	m.others[name] -= n
	m.ats[name] = time.Now().UnixMilli() - at
	return n, m.fail
}

func (m *table) PurgeStats(_ context.Context, now int64, limit int) (int, error) {
	return m.other("stats", now, limit)
}

func (m *table) PurgeAudit(_ context.Context, before int64, limit int) (int, error) {
	return m.other("audit", before, limit)
}

func (m *table) PurgeBulks(_ context.Context, before int64, limit int) (int, error) {
	return m.other("bulks", before, limit)
}

func (m *table) FoldStats(_ context.Context, req task.FoldRequest) (r task.FoldReport, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.minute = req.Before
	if req.Minute != m.at {
		return r, fmt.Errorf("a step begins at %d, the last one ended at %d", req.Minute, m.at)
	}
	if len(m.folds) > 0 {
		r.Folded, m.folds = m.folds[0], m.folds[1:]
	}
	m.at++
	r.Minute, r.SteppedOver, r.More = m.at, 1, r.Folded >= req.Limit
	return r, m.fail
}

func (m *table) fill(at, n int) {
	m.rows = append(m.rows, make([]bool, max(0, at+n-len(m.rows)))...)
	for i := range n {
		m.rows[at+i] = true
	}
}

func (m *table) left() (ids []int64) {
	for i, old := range m.rows {
		if old {
			ids = append(ids, int64(i+1))
		}
	}
	return ids
}

var keep = []byte(`{"succeededMs":100000,"othersMs":200000,"slotsMs":300000,"auditMs":400000}`)

// purge runs one purge whose slot is now.
func (m *table) purge(t *testing.T, ctx context.Context) (purged, task.Result) {
	t.Helper()
	res := NewPurge(m, hostClock{}, nil).Run(ctx, worker.Job{DueAt: time.Now().UnixMilli(), Payload: keep})
	var done purged
	if res.Outcome == task.OutcomeSucceeded {
		if err := json.Unmarshal(res.Body, &done); err != nil {
			t.Fatal(err)
		}
	}
	return done, res
}

// What is old in front goes in one run, quickly; what stands behind many that are kept goes within a day; and a run that finds
// nothing is short.
func TestPurgeFindsEverything(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		m := &table{slots: 1200}
		m.fill(0, 100_000)
		m.fill(400_000, 500)
		m.fill(900_000, 1)
		done, res := m.purge(t, t.Context())
		if done.Stats != 700 || done.Audit != 3 || done.Bulks != 501 || m.ats["stats"] > 100 || m.ats["audit"]/100 != 4000 || m.ats["bulks"]/100 != 3000 {
			t.Errorf("%+v, %v", done, m.ats)
		}
		if done.Tasks < 100_000 || done.Slots != 1200 || res.Outcome != task.OutcomeSucceeded || len(m.left()) > 501 {
			t.Errorf("%+v, %d left", done, len(m.left()))
		}
		if got := m.before; got != 300_000 {
			t.Errorf("slots older than %d ms", got)
		}
		last := m.reqs[len(m.reqs)-1]
		if last.Now-last.SucceededBefore != 100_000 || last.Now-last.OthersBefore != 200_000 {
			t.Errorf("%+v", last)
		}
		for range int(slices) {
			began := time.Now()
			m.steps = 0
			m.purge(t, t.Context())
			if took := time.Since(began); took > 15*time.Second || m.steps > 100 {
				t.Fatalf("a run with little to do took %v and %d steps", took, m.steps)
			}
			time.Sleep(purgeEvery - time.Since(began))
		}
		if left := m.left(); len(left) != 0 {
			t.Errorf("left after a day: %v", left[:min(len(left), 5)])
		}
	})
}

// slowTable takes its time for each step.
type slowTable struct {
	*table
	took time.Duration // each step
	all  time.Duration // of them together
}

func (s *slowTable) Purge(ctx context.Context, req task.PurgeRequest) (task.PurgeReport, error) {
	time.Sleep(s.took)
	s.all += s.took
	return s.table.Purge(ctx, req)
}

// TestPurgeRestsAsLongAsItWorks: on a busy database, where each step takes long, half of the time is left to the others.
func TestPurgeRestsAsLongAsItWorks(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		m := &slowTable{table: &table{rows: make([]bool, 10_000)}, took: 300 * time.Millisecond}
		for i := range m.rows {
			m.rows[i] = true
		}
		began := time.Now()
		got := NewPurge(m, hostClock{}, nil).Run(t.Context(), worker.Job{Payload: []byte(`{"succeededMs":60000,"othersMs":60000,"slotsMs":60000,"auditMs":60000}`)})
		if got.Outcome != task.OutcomeSucceeded {
			t.Fatalf("%+v", got)
		}
		if all := time.Since(began); m.all < 20*m.took || all < 2*m.all-m.took {
			t.Errorf("worked %v of %v", m.all, all)
		}
	})
}

// What cannot be deleted is stepped over, wherever it stands, and said.
func TestPurgeStepsOverWhatFails(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		want := []int64{1, 700, 701, 4321, 10_000}
		m := &table{bad: map[int64]bool{}}
		for _, id := range want {
			m.bad[id] = true
		}
		m.fill(0, 10_000)
		done, res := m.purge(t, t.Context())
		if res.Outcome != task.OutcomeSucceeded || done.SteppedOver < 5 || done.SteppedOver > 10 {
			t.Errorf("%+v %+v", res, done)
		}
		if left := m.left(); len(left) != len(want) || left[1] != 700 || left[4] != 10_000 {
			t.Errorf("left %v", left)
		}
	})
}

// A run ends when its time is over, with what it did, and at once when it is told to.
func TestPurgeEnds(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		m := &table{}
		m.fill(0, 20_000_000)
		began := time.Now()
		done, _ := m.purge(t, t.Context())
		if took := time.Since(began); !done.Unfinished || took > purgeBudget+time.Second || done.Tasks < 5_000_000 {
			t.Errorf("after %v: %+v", took, done)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		if _, res := m.purge(t, ctx); res.Outcome != task.OutcomeFailed || time.Since(began) > time.Second {
			t.Errorf("%v after %v", res, time.Since(began))
		}
	})
}

func TestPurgeSaysWhatIsWrong(t *testing.T) {
	m := &table{fail: &task.Error{Kind: task.Unavailable, Code: "database_unavailable", Message: "gone"}}
	m.fill(0, 10)
	if _, res := m.purge(t, t.Context()); res.Outcome != task.OutcomeFailed || res.Permanent || !strings.Contains(res.ErrMessage, "gone") {
		t.Errorf("%+v", res)
	}
	for _, bad := range []string{``, `{}`, `{"succeededMs":1,"othersMs":2,"slotsMs":3,"auditMs":4}`, `{"succeededMs":100000,"othersMs":100000,"slotsMs":100000}`, `{"succeededMs":100000,"othersMs":100000,"slotsMs":100000,"auditMs":100000,"x":1}`, `7`} {
		if res := NewPurge(m, hostClock{}, nil).Run(t.Context(), worker.Job{Payload: []byte(bad)}); !res.Permanent || res.ErrCode != "invalid_payload" {
			t.Errorf("%s: %+v", bad, res)
		}
	}
}

func TestRollupFoldsUntilNothingIsLeft(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		m := &table{folds: []int{500, 500, 7, 3}}
		res := NewRollup(m, hostClock{}).Run(t.Context(), worker.Job{})
		if string(res.Body) != `{"rows":1007,"steppedOver":3}` || len(m.folds) != 1 || m.minute != time.Now().UnixMilli()/60_000-2 {
			t.Errorf("%s, %d", res.Body, m.minute)
		}
		m.fail, m.at = errRefused, 0
		if res := NewRollup(m, hostClock{}).Run(t.Context(), worker.Job{}); res.Outcome != task.OutcomeFailed {
			t.Errorf("%+v", res)
		}
	})
}
