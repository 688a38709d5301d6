//go:build faults

package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/taskweir/taskweir/internal/failpoint"
)

// faultySQLite puts DBExec and DBCommit between the writer and its driver. db has no connection yet.
func faultySQLite(db *sql.DB, name string) *sql.DB {
	c := liteConnector{db.Driver(), name}
	_ = db.Close() // nothing is open
	return sql.OpenDB(c)
}

type liteConnector struct {
	driver driver.Driver
	name   string
}

func (c liteConnector) Driver() driver.Driver { return c.driver }

func (c liteConnector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.name)
	if err != nil {
		return nil, err
	}
	return &liteConn{conn.(liteDriverConn)}, nil
}

// liteDriverConn is what connections of SQLite's driver can do, and database/sql asks for.
type liteDriverConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ConnBeginTx
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
	driver.Pinger
}

type liteConn struct{ liteDriverConn }

func (c *liteConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	fault := litePoint(query)
	if err := liteBefore(fault); err != nil {
		return nil, err
	}
	res, err := c.liteDriverConn.ExecContext(ctx, query, args)
	if err == nil && fault == failpoint.LostAfter {
		return nil, errLostAnswer
	}
	return res, err
}

func (c *liteConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	fault := litePoint(query)
	if fault == failpoint.LostAfter {
		fault = failpoint.LostBefore // for who reads it is the same
	}
	if err := liteBefore(fault); err != nil {
		return nil, err
	}
	return c.liteDriverConn.QueryContext(ctx, query, args)
}

// litePoint passes the points of a statement. What leaves a transaction or a savepoint without a change cannot fail in SQLite.
func litePoint(query string) failpoint.Fault {
	if strings.HasPrefix(query, "ROLLBACK") || strings.HasPrefix(query, "SAVEPOINT") || strings.HasPrefix(query, "RELEASE") {
		return failpoint.None
	}
	fault := failpoint.Fails(failpoint.DBExec)
	if query == "COMMIT" {
		if f := failpoint.Fails(failpoint.DBCommit); fault == failpoint.None {
			fault = f
		}
	}
	return fault
}

// errLostAnswer stands for an error of the disk: SQLite has no connection that could be lost, but after such an error nobody
// knows what a recovery of the log will find.
var errLostAnswer = fmt.Errorf("disk error on purpose: %w", io.ErrUnexpectedEOF)

func liteBefore(f failpoint.Fault) error {
	switch f {
	case failpoint.LostBefore:
		return errLostAnswer
	case failpoint.Deadlock, failpoint.LockWait, failpoint.Busy:
		return liteBusy()
	}
	return nil
}

// liteBusy is a real answer of SQLite's: the driver's errors cannot be made by hand. Two connections fight for an empty file.
var liteBusy = sync.OnceValue(func() error {
	dir, err := os.MkdirTemp("", "taskweir-busy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // temporary
	db, err := sql.Open("sqlite", filepath.Join(dir, "busy.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	ctx := context.Background()
	for range 2 {
		var conn *sql.Conn
		if conn, err = db.Conn(ctx); err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // nothing is kept
		if _, err = conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
			return err
		}
	}
	return err
})

// lostAnswer passes the points of answers of everybody whose transaction a COMMIT has carried.
func lostAnswer(batch []*turn) error {
	var lost error
	for _, t := range batch {
		p, marked := failpoint.Of(t.ctx)
		if t.err == nil && marked && failpoint.Fails(p) == failpoint.LostAfter {
			lost = errLostAnswer
		}
	}
	return lost
}
