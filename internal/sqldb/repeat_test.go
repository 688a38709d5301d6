package sqldb_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// faults makes the first n statements with a prefix fail.
func faults(t *testing.T, s *sqldb.Store, url, prefix string, n int, fault error) (left func() int) {
	var mu sync.Mutex
	sqldb.HookStatements(t, s, url, func(query string, _ func() ([][2]string, error), run func() error) error {
		mu.Lock()
		hit := n > 0 && strings.HasPrefix(query, prefix)
		if hit {
			n--
		}
		mu.Unlock()
		if hit {
			return fault
		}
		return run()
	})
	return func() int { mu.Lock(); defer mu.Unlock(); return n }
}

func TestTransactionsAreRepeated(t *testing.T) {
	for _, number := range []uint16{1213, 1205, 1020} {
		url := sqldbtest.URL(t, "mysql")
		s := sqldbtest.Open(t, url)
		x := newFront(t, s)
		x.ok(x.s.Ping(x.ctx))
		sub := x.sub(nil)
		x.submit(x.sub(nil)) // the bells' ids and sizes are at hand from now on
		left := faults(t, s, url, "INSERT INTO payloads", 3, &mysql.MySQLError{Number: number})
		// Unless each try is rolled back explicitly, the next one meets its own task.
		x.submit(sub)
		if left() != 0 || !sub.Created || x.count("tasks") != 2 {
			t.Errorf("%d: %d faults left, %+v", number, left(), sub)
		}
	}
}

func TestRepeatingEnds(t *testing.T) {
	url := sqldbtest.URL(t, "mysql")
	s := sqldbtest.Open(t, url)
	x := newFront(t, s)
	left := faults(t, s, url, "INSERT INTO payloads", 1000, &mysql.MySQLError{Number: 1213})
	_, err := s.Submit(x.ctx, []*task.Request{{AppID: x.app.ID, Tasks: []*task.Submission{x.sub(nil)}}})
	wantKind(t, err, task.Unavailable, "database_unavailable")
	if n := 1000 - left(); n < 5 || n > 50 {
		t.Errorf("tried %d times", n)
	}
}

// A submission is one text with its COMMIT at the end, so a connection that breaks under it leaves its outcome open: it is
// looked up, and since nothing is there the submission is made again.
func TestConnectionThatBreaksUnderASubmission(t *testing.T) {
	url := sqldbtest.URL(t, "mysql")
	s := sqldbtest.Open(t, url)
	x := newFront(t, s)
	left := faults(t, s, url, "INSERT INTO payloads", 1, mysql.ErrInvalidConn)
	sub := x.sub(nil)
	x.submit(sub)
	if left() != 0 || !sub.Created || x.count("tasks") != 1 {
		t.Errorf("%d faults left, %+v, %d tasks", left(), sub, x.count("tasks"))
	}
}

// Before the text with the COMMIT nothing can have happened: the outcome is known.
func TestConnectionThatBreaksBeforeTheCommit(t *testing.T) {
	url := sqldbtest.URL(t, "mysql")
	w := newWorld(t, sqldbtest.Open(t, url))
	_, bells := w.submit(3, nil)
	faults(t, w.s, url, "UPDATE tasks", 1, mysql.ErrInvalidConn)
	req := task.ClaimRequest{WorkerID: w.worker, LaneID: w.lane.ID, Bells: bellIDs(bells), Max: 3, Kinds: w.kinds}
	_, err := w.s.Claim(w.ctx, req)
	wantKind(t, err, task.Unavailable, "database_unavailable")
	if errors.Is(err, task.ErrOutcomeUnknown) {
		t.Error(err)
	}
	want(t, "won", len(w.claim(3, bellIDs(bells)...).Tasks), 3)
}

func TestIDThatIsInUse(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		used, _ := x.created(nil)
		sub := x.sub(nil)
		sub.ID = used
		_, err := x.s.Submit(x.ctx, []*task.Request{{AppID: x.app.ID, Tasks: []*task.Submission{sub}}})
		wantKind(t, err, task.Unavailable, "id_in_use")
		if x.count("tasks") != 1 {
			t.Error("something was written")
		}
		x.created(nil) // with ids of a new block
	})
}
