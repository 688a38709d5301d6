// Package sqldbtest gives tests a fresh, migrated database of each kind.
package sqldbtest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/taskweir/taskweir/internal/sqldb"
)

// Variable names the server that tests use: mysql://root@127.0.0.1:3306/ . Each test makes a database of its own there
// and drops it.
const Variable = "TASKWEIR_TEST_MYSQL"

// Each runs f as a subtest on a fresh SQLite database and, when there is a server, on a fresh MySQL database, both at once:
// after the caller has returned, then. Without a server the second is skipped and says so.
func Each(t *testing.T, f func(t *testing.T, s *sqldb.Store)) {
	t.Helper()
	for _, kind := range []string{"sqlite", "mysql"} {
		t.Run(kind, func(t *testing.T) {
			Beside(t)
			f(t, New(t, kind))
		})
	}
}

// New gives a fresh migrated database of a kind, "sqlite" or "mysql", closed and dropped with the test.
func New(t testing.TB, kind string) *sqldb.Store {
	t.Helper()
	return Open(t, URL(t, kind))
}

// Open opens and migrates the database of a URL and closes it with the test.
func Open(t testing.TB, url string) *sqldb.Store {
	t.Helper()
	ctx := context.Background()
	s, err := sqldb.Open(ctx, sqldb.Options{URL: url, ListTime: time.Minute})
	if err != nil {
		t.Fatalf("open %s: %v", strings.SplitN(url, ":", 2)[0], err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close database: %v", err)
		}
	})
	if _, err := s.Migrate(ctx, sqldb.Up); err != nil {
		t.Fatalf("migrate: %v", err)
	}
	return s
}

// URL gives the URL of a fresh, empty database of a kind, removed with the test. Without a server for "mysql" it skips
// the test, or fails it when CI=true.
func URL(t testing.TB, kind string) string {
	t.Helper()
	if kind == "sqlite" {
		return "sqlite://" + filepath.Join(t.TempDir(), "taskweir.db")
	}
	base := os.Getenv(Variable)
	if base == "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not set, but CI=true asks for every suite", Variable)
		}
		t.Skipf("no MySQL or MariaDB to test on: %s is not set (make test sets it)", Variable)
	}
	raw := make([]byte, 6)
	_, _ = rand.Read(raw)
	name := "taskweir_test_" + hex.EncodeToString(raw)
	server := serverOf(t, base)
	t.Cleanup(func() { server("DROP DATABASE IF EXISTS " + name) })
	server("CREATE DATABASE " + name + " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
	return strings.TrimSuffix(base, "/") + "/" + name
}

// serverOf gives a function that runs one statement on the server, without a database.
func serverOf(t testing.TB, base string) func(query string) {
	t.Helper()
	user, addr, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(base, "mysql://"), "/"), "@")
	if !ok {
		t.Fatalf("%s: want mysql://user[:password]@host:port/", Variable)
	}
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, _ = strings.Cut(user, ":")
	cfg.Net, cfg.Addr = "tcp", addr
	return func(query string) {
		t.Helper()
		c, err := mysql.NewConnector(cfg)
		if err != nil {
			t.Fatalf("test database: %v", err)
		}
		db := sql.OpenDB(c)
		defer db.Close() //nolint:errcheck // a test's
		if _, err := db.Exec(query); err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
}
