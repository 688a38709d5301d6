package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
)

func TestMain(m *testing.M) {
	if err := testkit.AtOnce(4); err != nil { // tests here mostly wait for a server's disk
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func TestTaskIDsGrow(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, s *sqldb.Store) {
		last := int64(0)
		for _, n := range []int{1, 10, 100, 64, 20_000, 1} {
			first, err := s.TaskIDs(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			if first <= last {
				t.Fatalf("ids went from %d to %d", last, first)
			}
			last = first + int64(n) - 1
		}
		if _, err := s.TaskIDs(t.Context(), 0); err == nil {
			t.Error("no ids were given")
		}
	})
}

func TestTaskIDsOfManyAtOnce(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, s *sqldb.Store) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		taken := map[int64]bool{}
		for g := range 16 {
			wg.Go(func() {
				for i := range 100 {
					n := 1 + (g*i)%7
					first, err := s.TaskIDs(t.Context(), n)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for id := first; id < first+int64(n); id++ {
						if taken[id] {
							t.Errorf("id %d twice", id)
						}
						taken[id] = true
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
	})
}

func TestTwoProcessesShareTheIDs(t *testing.T) {
	url := sqldbtest.URL(t, "mysql")
	a, b := sqldbtest.Open(t, url), sqldbtest.Open(t, url)
	taken := map[int64]bool{}
	for range 300 {
		for _, s := range []*sqldb.Store{a, b} {
			id, err := s.TaskIDs(t.Context(), 1)
			if err != nil || taken[id] {
				t.Fatalf("id %d, %v", id, err)
			}
			taken[id] = true
		}
	}
}

func TestMigrations(t *testing.T) {
	for _, kind := range []string{"sqlite", "mysql"} {
		t.Run(kind, func(t *testing.T) {
			sqldbtest.Beside(t)
			ctx := t.Context()
			s, err := sqldb.Open(ctx, sqldb.Options{URL: sqldbtest.URL(t, kind)})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for round := range 2 {
				if err := s.CheckSchema(ctx); err == nil || !strings.Contains(err.Error(), `run "taskweir migrate up"`) {
					t.Fatalf("an empty schema: %v", err)
				}
				up, err := s.Migrate(ctx, sqldb.Up)
				if err != nil || len(up) == 0 {
					t.Fatalf("up %d: %v %v", round, up, err)
				}
				if again, err := s.Migrate(ctx, sqldb.Up); err != nil || len(again) != 0 {
					t.Fatalf("up again: %v %v", again, err)
				}
				if err := s.CheckSchema(ctx); err != nil {
					t.Fatal(err)
				}
				for range up {
					if down, err := s.Migrate(ctx, sqldb.Down); err != nil || len(down) != 1 {
						t.Fatalf("down: %v %v", down, err)
					}
				}
				if down, err := s.Migrate(ctx, sqldb.Down); err != nil || len(down) != 0 {
					t.Fatalf("down from nothing: %v %v", down, err)
				}
			}
			up, err := s.Migrate(ctx, sqldb.Up)
			if err != nil {
				t.Fatal(err)
			}
			for extra, wantOK := range []bool{true, false} {
				if err := s.Exec(ctx, "INSERT INTO schema_version (version, applied_at) VALUES ("+string(rune('0'+len(up)+1+extra))+", 1)"); err != nil {
					t.Fatal(err)
				}
				if err := s.CheckSchema(ctx); (err == nil) != wantOK {
					t.Errorf("newer by %d: %v", extra+1, err)
				}
			}
		})
	}
}

func TestMigrateOfManyAtOnce(t *testing.T) {
	url := sqldbtest.URL(t, "mysql")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := sqldb.Open(t.Context(), sqldb.Options{URL: url})
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if _, err := s.Migrate(t.Context(), sqldb.Up); err != nil {
				t.Error(err)
			}
			if err := s.CheckSchema(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestBothSchemasAgree compares every table's columns, and which of them must be given.
func TestBothSchemasAgree(t *testing.T) {
	my, lite := sqldbtest.New(t, "mysql"), sqldbtest.New(t, "sqlite")
	want := columns(t, my, "SELECT table_name, column_name, is_nullable = 'YES' FROM information_schema.columns WHERE table_schema = DATABASE()")
	got := columns(t, lite, `SELECT m.name, p.name, p."notnull" = 0 AND p.pk = 0 FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\'`)
	if len(want) < 100 || !slices.Equal(got, want) {
		for _, c := range want {
			if !slices.Contains(got, c) {
				t.Errorf("only MySQL has %s", c)
			}
		}
		for _, c := range got {
			if !slices.Contains(want, c) {
				t.Errorf("only SQLite has %s", c)
			}
		}
	}
}

func columns(t *testing.T, s *sqldb.Store, query string) (out []string) {
	t.Helper()
	rows, err := s.DB().Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var table, column string
		var null bool
		if err := rows.Scan(&table, &column, &null); err != nil {
			t.Fatal(err)
		}
		if null {
			column += " NULL"
		}
		out = append(out, table+"."+column)
	}
	slices.Sort(out)
	return out
}

func TestURLs(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	odd := filepath.Join(dir, "a b%20", "x#y.db")
	if _, err := sqldb.Open(ctx, sqldb.Options{URL: "sqlite://" + odd}); err == nil || !strings.Contains(err.Error(), "no options") {
		t.Errorf("a path with '#': %v", err)
	}
	odd = filepath.Join(dir, "a b%20", "x.db")
	s, err := sqldb.Open(ctx, sqldb.Options{URL: "sqlite://" + odd})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(odd); err != nil {
		t.Error(err)
	}
	if err := s.Ping(ctx); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	wantKind(t, s.Ping(ctx), task.Unavailable, "database_unavailable")
	_, err = s.TaskIDs(ctx, 1)
	wantKind(t, err, task.Unavailable, "database_unavailable")
	for _, url := range []string{"", "postgres://u:s3cret@h/d", "mysql://u:s3cret@", "mysql://u:s3cret@h", "mysql://u:s3c%ret@h/d",
		"mysql://u:s3cret@h/d?x=s3cret", "mysql://u:s3cret@h/d?tls=s3cret", "mysql://u:s3cret@h:port/d", "mysql://u:s3cret@127.0.0.1:1/d"} {
		_, err := sqldb.Open(ctx, sqldb.Options{URL: url})
		if err == nil || strings.Contains(err.Error(), "s3c") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestDatabaseThatIsGone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	_, err = sqldb.Open(t.Context(), sqldb.Options{URL: "mysql://root@" + addr + "/x"})
	if e := wantKind(t, err, task.Unavailable, "database_unavailable"); e.RetryAfter <= 0 {
		t.Errorf("%+v", e)
	}
}

func TestReadersCannotWrite(t *testing.T) {
	s := sqldbtest.New(t, "sqlite")
	if _, err := s.DB().Exec("DELETE FROM ids"); err == nil {
		t.Error("a reader wrote")
	}
}

func TestSessionsAreSetUp(t *testing.T) {
	s := sqldbtest.New(t, "mysql")
	var mode, zone, isolation string
	var wait int
	if err := s.DB().QueryRow("SELECT @@session.sql_mode, @@session.time_zone, @@session.innodb_lock_wait_timeout").Scan(&mode, &zone, &wait); err != nil {
		t.Fatal(err)
	}
	if err := s.DB().QueryRow("SHOW VARIABLES WHERE Variable_name IN ('tx_isolation','transaction_isolation')").Scan(new(string), &isolation); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(mode, "STRICT_TRANS_TABLES") || zone != "+00:00" || wait != 5 || isolation != "READ-COMMITTED" {
		t.Errorf("%s %s %d %s", mode, zone, wait, isolation)
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

var errOnPurpose = errors.New("on purpose")

func TestSharedTurns(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, s *sqldb.Store) {
		ctx := t.Context()
		if err := s.Exec(ctx, "CREATE TABLE turns (id BIGINT NOT NULL PRIMARY KEY)"); err != nil {
			t.Fatal(err)
		}
		const n = 200
		errs := make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				errs[i] = s.WriteForTest(ctx, func(exec func(string) error) error {
					if err := exec("INSERT INTO turns VALUES (" + itoa(i) + ")"); err != nil {
						return err
					}
					switch i % 5 {
					case 1:
						return errOnPurpose
					case 2:
						return exec("INSERT INTO turns VALUES (" + itoa(i) + ")")
					case 3:
						return exec("no SQL")
					}
					return nil
				})
			})
		}
		wg.Wait()
		for i, err := range errs {
			if bad := i%5 >= 1 && i%5 <= 3; (err != nil) != bad {
				t.Errorf("%d: %v", i, err)
			}
			if i%5 == 1 && !errors.Is(err, errOnPurpose) {
				t.Errorf("%d: %v", i, err)
			}
		}
		var rows, wrong int
		if err := s.DB().QueryRow("SELECT COUNT(*), COALESCE(SUM(id % 5 BETWEEN 1 AND 3), 0) FROM turns").Scan(&rows, &wrong); err != nil {
			t.Fatal(err)
		}
		if rows != n/5*2 || wrong != 0 {
			t.Errorf("%d rows, %d of failed transactions", rows, wrong)
		}
	})
}

func TestPanicInATransactionIsAnError(t *testing.T) {
	s := sqldbtest.New(t, "sqlite")
	err := s.WriteForTest(t.Context(), func(func(string) error) error { panic("oops") })
	if err == nil || !strings.Contains(err.Error(), "oops") {
		t.Errorf("got %v", err)
	}
	if _, err := s.TaskIDs(t.Context(), 1); err != nil {
		t.Errorf("the writer is gone: %v", err)
	}
}

func TestNestedTransactionIsRefused(t *testing.T) {
	s := sqldbtest.New(t, "sqlite")
	err := s.NestForTest(t.Context())
	if err == nil || !strings.Contains(err.Error(), "inside") {
		t.Errorf("got %v", err)
	}
}

func TestCallerThatGaveUp(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, s *sqldb.Store) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errOnPurpose)
		err := s.WriteForTest(ctx, func(exec func(string) error) error { return exec("UPDATE ids SET next=next+1") })
		if err == nil || task.KindOf(err) == task.Unavailable {
			t.Errorf("got %v", err)
		}
	})
}
