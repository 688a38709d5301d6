package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"time"

	"gorm.io/gorm"
)

const (
	maxRepeats    = 12                     // of one transaction
	commitTimeout = 20 * time.Second       // COMMIT is not bound to the caller's context
	longestPause  = 100 * time.Millisecond // between repetitions
)

// connTx is an open transaction on SQLite's connection.
type connTx struct {
	changeLog
	conn *sql.Conn
}

func (t *connTx) add(ctx context.Context, query string) error {
	_, err := t.conn.ExecContext(ctx, query)
	return err
}

func (t *connTx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	res, err := t.conn.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (t *connTx) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.conn.QueryContext(ctx, query, args...)
}

// txKey marks the context of a running transaction on SQLite, where a second one would wait for the first for ever.
type txKey struct{}

var errNested = errors.New("transaction inside a transaction")

// write runs fn as one transaction and repeats the whole when the database asks for it (deadlock, lock wait, busy), so fn
// must set everything it returns anew each time. Errors of fn roll back and come out interpreted. An error that wraps
// task.ErrOutcomeUnknown: the connection died at COMMIT, the caller must look up what happened.
//
// fn must use the context that it gets. READ COMMITTED on MySQL; serial on SQLite.
func (s *Store) write(ctx context.Context, fn func(ctx context.Context, t tx) error) error {
	if ctx.Value(txKey{}) != nil {
		return errNested
	}
	run := s.writeMySQL
	if !s.mysql {
		run = s.writer.do
	}
	for try := 1; ; try++ {
		err := s.writeTold(ctx, run, fn)
		if err == nil {
			return nil
		}
		if !repeatable(err) || try == maxRepeats {
			return s.interpret(err)
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// pause waits a random time that grows with the number of tries, so that two that collided do not collide again.
func pause(ctx context.Context, try int) error {
	d := time.Duration(rand.Int64N(int64(min(longestPause, time.Millisecond<<try))))
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

func (s *Store) writeMySQL(ctx context.Context, fn func(ctx context.Context, t tx) error) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // gives the connection back
	t := newMysqlTx(conn)
	done := false
	defer func() { // an error, or a panic of fn
		if !done && t.begun {
			rollback(ctx, conn)
		}
	}()
	if err := fn(ctx, t); err != nil {
		return err
	}
	cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	if err := t.commit(cctx); err != nil {
		if repeatable(err) || !unreachable(err) {
			return err
		}
		return unknown(err)
	}
	done = true
	return nil
}

// rollback is explicit because after a lock wait timeout the transaction is still open. A connection on which it fails
// is thrown away: the server rolls back when it notices.
func rollback(ctx context.Context, conn *sql.Conn) {
	rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if _, err := conn.ExecContext(rctx, "ROLLBACK"); err != nil {
		_ = conn.Raw(func(any) error { return errBroken })
	}
}

// gorm gives a gorm handle on the transaction t.
func (s *Store) gorm(ctx context.Context, t tx) *gorm.DB {
	db := s.orm.Session(&gorm.Session{NewDB: true, Context: ctx})
	switch t := t.(type) {
	case *connTx:
		db.Statement.ConnPool = t.conn
	case *mysqlTx:
		db.Statement.ConnPool = t.conn
		if err := t.send(ctx); err != nil {
			_ = db.AddError(err)
		}
	default:
		_ = db.AddError(errNoTransaction)
	}
	return db
}

// read gives a gorm handle for plain reads.
func (s *Store) read(ctx context.Context) *gorm.DB { return s.orm.WithContext(ctx) }
