package sqldb_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// texts records what is sent.
type texts struct {
	mu  sync.Mutex
	all []string
}

func (x *texts) hook(text string, _ func() ([][2]string, error), run func() error) error {
	x.mu.Lock()
	if !strings.HasPrefix(text, "SET SESSION") {
		x.all = append(x.all, text)
	}
	x.mu.Unlock()
	return run()
}

func (x *texts) take() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := x.all
	x.all = nil
	return out
}

// A round trip costs as much as changing several rows: the hot path must not gain one unnoticed.
func TestRoundTripsOfTheHotPath(t *testing.T) {
	url := sqldbtest.URL(t, "mysql")
	w := newWorld(t, sqldbtest.Open(t, url))
	warm, bells := w.submit(1, nil) // bell sizes and ids are at hand from now on
	w.finish([]*task.Ending{w.ending(w.claim(len(warm), bellIDs(bells)...), 0)})
	x := &texts{}
	sqldb.HookMySQL(t, w.s, url, x.hook)
	trips := func(what string, want int) {
		t.Helper()
		if got := x.take(); len(got) != want {
			t.Errorf("%s: %d round trips, want %d:\n%.150q", what, len(got), want, got)
		}
	}
	_, bells = w.submit(20, nil)
	trips("submit", 1)
	c := w.claim(20, bellIDs(bells)...)
	trips("claim", 3)
	var ends []*task.Ending
	for i := range c.Tasks {
		e := w.ending(c, i)
		e.Result = []byte(`{"it's": "; DELETE FROM tasks; \\' --"}`)
		ends = append(ends, e)
	}
	w.finish(ends, c.ClaimID)
	trips("finish with results", 2)
	for _, e := range ends {
		if got := w.text("SELECT body FROM results WHERE id=?", e.TaskID); got != string(e.Result) {
			t.Fatalf("result %q", got)
		}
	}
}

// Statements that were joined are one transaction all the same: when one fails nothing of them is there, wherever the
// error comes out, and the connection can be used again.
func TestJoinedStatementsFailTogether(t *testing.T) {
	s := sqldbtest.Open(t, sqldbtest.URL(t, "mysql"))
	ctx := t.Context()
	for _, q := range []string{"CREATE TABLE j (id INT NOT NULL PRIMARY KEY, v VARCHAR(99) NOT NULL)", "INSERT INTO j VALUES (1,'old')"} {
		if err := s.Exec(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
	count := func() (n int) {
		if err := s.DB().QueryRowContext(ctx, "SELECT COUNT(*) FROM j").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const twin = "INSERT INTO j VALUES (1,'again')"
	for name, then := range map[string]func(ctx context.Context, t sqldb.Tx) error{
		"at COMMIT": func(context.Context, sqldb.Tx) error { return nil },
		"at a statement": func(ctx context.Context, t sqldb.Tx) error {
			_, err := t.Exec(ctx, "UPDATE j SET v='new'")
			return err
		},
		"at one with parameters": func(ctx context.Context, t sqldb.Tx) error {
			_, err := t.Exec(ctx, "UPDATE j SET v=? WHERE id=?", "new;", 1)
			return err
		},
		"at a query": func(ctx context.Context, t sqldb.Tx) error {
			rows, err := t.Query(ctx, "SELECT id FROM j FOR UPDATE")
			if err == nil {
				defer rows.Close()
				for rows.Next() {
					return errors.New("a row was read")
				}
				err = rows.Err()
			}
			return err
		},
		"when there is too much of it": func(ctx context.Context, t sqldb.Tx) error {
			return t.Add(ctx, "UPDATE j SET v='"+strings.Repeat("x", 99)+"' WHERE id=1 /*"+strings.Repeat(" ", 1<<20)+"*/")
		},
	} {
		err := s.Write(ctx, func(ctx context.Context, t sqldb.Tx) error {
			if err := t.Add(ctx, "INSERT INTO j VALUES (2,'first')"); err != nil {
				return err
			}
			if err := t.Add(ctx, twin); err != nil {
				return err
			}
			if err := t.Add(ctx, "INSERT INTO j VALUES (3,'last')"); err != nil {
				return err
			}
			return then(ctx, t)
		})
		if m := (*mysql.MySQLError)(nil); !errors.As(err, &m) || m.Number != 1062 {
			t.Errorf("%s: error %v, want a duplicate key", name, err)
		}
		if n := count(); n != 1 {
			t.Errorf("%s: %d rows", name, n)
		}
	}
	err := s.Write(ctx, func(ctx context.Context, t sqldb.Tx) error {
		_ = t.Add(ctx, twin)
		_, _ = t.Exec(ctx, "INSERT INTO j VALUES (6,'')") // did not run; who overlooks that must not commit the rest
		_, err := t.Exec(ctx, "INSERT INTO j VALUES (7,'')")
		return err
	})
	if m := (*mysql.MySQLError)(nil); !errors.As(err, &m) || m.Number != 1062 || count() != 1 {
		t.Errorf("overlooked: %v, %d rows", err, count())
	}
	matched := int64(0)
	err = s.Write(ctx, func(ctx context.Context, t sqldb.Tx) (err error) {
		if err = t.Add(ctx, "INSERT INTO j VALUES (4,'; COMMIT; it\\'s'),(5,'')"); err != nil {
			return err
		}
		matched, err = t.Exec(ctx, "UPDATE j SET v=v WHERE id=4") // matched, though not changed
		return err
	})
	if err != nil || matched != 1 || count() != 3 {
		t.Errorf("%v, matched %d, %d rows", err, matched, count())
	}
	if err := s.Write(ctx, func(context.Context, sqldb.Tx) error { return nil }); err != nil {
		t.Errorf("empty transaction: %v", err)
	}
}

// What users write stands in texts of several statements as an escaped literal: whatever bytes it has, it comes back as it
// was, and nothing of it is ever a statement.
func TestLiteralsHoldAnyBytes(t *testing.T) {
	w := newWorld(t, sqldbtest.Open(t, sqldbtest.URL(t, "mysql")))
	r := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{"'", "\\", ";", "\x00", "\n", "\r", "\x1a", "\"", "`", "--", "/*", "*/", "#", "?", "%", "_binary'", "é", "\xff", "\xe2\x28", "\xbf\x27", "\xbf\x5c",
		"'; DROP TABLE tasks; --", "\\'; DELETE FROM results; SELECT '"}
	c := w.running(100, nil)
	var ends []*task.Ending
	for i := range c.Tasks {
		e := w.ending(c, i)
		for range r.IntN(30) + i%2*300 { // short ones are written in hexadecimal
			e.Result = append(e.Result, alphabet[r.IntN(len(alphabet))]...)
		}
		for range r.IntN(5) {
			e.Result = append(e.Result, byte(r.IntN(256)))
		}
		ends = append(ends, e)
	}
	w.finish(ends, c.ClaimID)
	for _, e := range ends {
		if got := w.text("SELECT body FROM results WHERE id=?", e.TaskID); got != string(e.Result) {
			t.Fatalf("stored %q\nas     %q", e.Result, got)
		}
	}
	want(t, "tasks", w.count("SELECT COUNT(*) FROM tasks"), 100)
}

// A server that answers that it is read-only or has no room left has not committed: that is known, whichever statement of
// the text it was, and nobody is told that the outcome is open.
func TestRefusedTextIsNoUnknownOutcome(t *testing.T) {
	for _, number := range []uint16{1290, 1114, 1021, 1053} {
		url := sqldbtest.URL(t, "mysql")
		w := newWorld(t, sqldbtest.Open(t, url))
		_, bells := w.submit(3, nil)
		var refuse atomic.Bool
		sqldb.HookMySQL(t, w.s, url, func(text string, _ func() ([][2]string, error), run func() error) error {
			if refuse.Load() && sqldb.IsCommit(text) {
				return &mysql.MySQLError{Number: number, Message: "refused"}
			}
			return run()
		})
		refuse.Store(true)
		before := w.count("SELECT COUNT(*) FROM tasks")
		_, err := w.s.Submit(w.ctx, []*task.Request{{AppID: 1, Tasks: w.subs(2, nil)}})
		wantKind(t, err, task.Unavailable, "database_unavailable")
		_, cerr := w.s.Claim(w.ctx, task.ClaimRequest{WorkerID: w.worker, LaneID: w.lane.ID, Bells: bellIDs(bells), Max: 3, Kinds: w.kinds})
		wantKind(t, cerr, task.Unavailable, "database_unavailable")
		if errors.Is(err, task.ErrOutcomeUnknown) || errors.Is(cerr, task.ErrOutcomeUnknown) {
			t.Errorf("%d: submit %v, claim %v", number, err, cerr)
		}
		refuse.Store(false)
		want(t, "tasks", w.count("SELECT COUNT(*) FROM tasks"), before)
		want(t, "won later", len(w.claim(3, bellIDs(bells)...).Tasks), 3)
	}
}
