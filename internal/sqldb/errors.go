package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/taskweir/taskweir/internal/task"
)

// MySQL and MariaDB error numbers that mean something here.
const (
	myDuplicate    = 1062
	myLockTimeout  = 1205
	myDeadlock     = 1213
	myRecordChange = 1020 // MariaDB with snapshot isolation: the record changed since the last read
)

// interpret is the one place where errors of the drivers become kinds of the core: a database that cannot be reached (or
// has no room, or became read-only) is Unavailable with code database_unavailable. Errors that are the core's already,
// unknown outcomes and everything else pass as they are.
func (s *Store) interpret(err error) error {
	var known *task.Error
	switch {
	case err == nil, errors.As(err, &known), errors.Is(err, task.ErrOutcomeUnknown), errors.Is(err, task.ErrFenced):
		return err
	case unreachable(err), s.closed.Load() && !errors.Is(err, context.Canceled):
		return task.Gone("database_unavailable", err)
	}
	return err
}

// unreachable reports whether the database, not the statement, is at fault.
func unreachable(err error) bool {
	if connectionLost(err) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, errClosed) {
		return true
	}
	if m := (*mysql.MySQLError)(nil); errors.As(err, &m) {
		return myServerFault(m.Number)
	}
	if l := (*sqlite.Error)(nil); errors.As(err, &l) {
		switch l.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL,
			sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT:
			return true
		}
	}
	return false
}

// myServerFault knows the answers of a server that is up but cannot serve.
func myServerFault(number uint16) bool {
	switch number {
	case 1040, 1041, 1203, 1226, // too many connections, out of memory
		1044, 1045, 1049, 1698, // refused: wrong credentials or no such database
		1053, 1077, 1317, 1927, // shutting down, query or connection killed
		1021, 1114, // no room
		1290, 1836, 1792, // read-only
		1129, 1130, // host blocked or not allowed
		myLockTimeout, myDeadlock, myRecordChange: // still so after every repetition
		return true
	}
	return false
}

// connectionLost reports whether err says that the connection broke, so that what it carried may or may not have happened.
func connectionLost(err error) bool {
	var n net.Error
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &n)
}

// repeatable reports whether the whole transaction should be run again.
func repeatable(err error) bool {
	if m := (*mysql.MySQLError)(nil); errors.As(err, &m) {
		return m.Number == myDeadlock || m.Number == myLockTimeout || m.Number == myRecordChange
	}
	if l := (*sqlite.Error)(nil); errors.As(err, &l) {
		return l.Code()&0xff == sqlite3.SQLITE_BUSY
	}
	return false
}

// duplicate reports whether err is a violated primary or unique key.
func duplicate(err error) bool {
	if m := (*mysql.MySQLError)(nil); errors.As(err, &m) {
		return m.Number == myDuplicate
	}
	if l := (*sqlite.Error)(nil); errors.As(err, &l) {
		return l.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || l.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE
	}
	return false
}

// unknown marks an error of COMMIT after which nobody knows.
func unknown(err error) error { return fmt.Errorf("%w: %w", task.ErrOutcomeUnknown, err) }
