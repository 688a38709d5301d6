package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/taskweir/taskweir/internal/task"
)

var (
	errClosed = errors.New("database is closed")
	errBroken = driver.ErrBadConn // told to database/sql so that it throws a connection away
)

// turnMax bounds how many transactions one commit carries.
const turnMax = 64

// writer owns SQLite's one write connection. Transactions are closures on its queue. A turn takes what waits, runs it
// inside one BEGIN IMMEDIATE … COMMIT and then answers everybody: submits, claims and finishes of the same moment share
// one fsync. Whoever comes while a turn runs joins it or the next one; nobody waits for company.
//
// The first closure of a turn runs on the bare transaction: when it fails the whole is rolled back and begun anew, which
// costs less than a savepoint that is hardly ever needed. Each of the others has a savepoint and fails alone.
type writer struct {
	db    *sql.DB
	conn  *sql.Conn
	log   *slog.Logger
	queue chan *turn

	mu     sync.RWMutex // guards closed against do
	closed bool
	ended  chan struct{}
}

// turn is one transaction that waits for its answer.
type turn struct {
	ctx  context.Context
	fn   func(ctx context.Context, t tx) error
	err  error
	done chan struct{}
}

func newWriter(db *sql.DB, conn *sql.Conn, log *slog.Logger) *writer {
	w := &writer{db: db, conn: conn, log: log, queue: make(chan *turn, 4*turnMax), ended: make(chan struct{})}
	go w.run()
	return w
}

// do queues a transaction and waits for its commit. ctx ends the wait for the queue only: what is queued is answered.
func (w *writer) do(ctx context.Context, fn func(ctx context.Context, t tx) error) error {
	t := &turn{ctx: ctx, fn: fn, done: make(chan struct{})}
	w.mu.RLock()
	if w.closed {
		w.mu.RUnlock()
		return errClosed
	}
	select {
	case w.queue <- t:
		w.mu.RUnlock()
	case <-ctx.Done():
		w.mu.RUnlock()
		return context.Cause(ctx)
	}
	<-t.done
	return t.err
}

// close runs what is queued, then ends the writer and its connection.
func (w *writer) close() {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return
	}
	w.closed = true
	close(w.queue)
	w.mu.Unlock()
	<-w.ended
}

func (w *writer) run() {
	defer close(w.ended)
	defer w.db.Close()   //nolint:errcheck // nothing is open any more
	defer w.conn.Close() //nolint:errcheck
	for first := range w.queue {
		batch := w.oneTurn(first)
		for _, t := range batch {
			close(t.done)
		}
	}
}

// oneTurn runs first and what waits behind it as one commit, and gives all of them, each with its error set.
func (w *writer) oneTurn(first *turn) []*turn {
	batch := make([]*turn, 0, turnMax)
	open := false // BEGIN was done
	kept := 0     // closures inside the open transaction
	for t := first; t != nil; t = w.next(len(batch)) {
		batch = append(batch, t)
		if t.err = t.ctx.Err(); t.err != nil {
			continue
		}
		if !open {
			if t.err = w.begin(); t.err != nil {
				continue
			}
			open = true
		}
		intact := true
		if t.err, intact = w.runOne(t, kept > 0); !intact {
			w.lost(batch, t.err)
			return batch
		}
		if t.err == nil {
			kept++
		} else if kept == 0 {
			w.rollback()
			open = false
		}
	}
	if open {
		w.commit(batch)
	}
	return batch
}

// begin opens a transaction. Should one be open all the same, because its end failed, no other could ever begin: it is rolled
// back. Nothing of it was ever told to be stored.
func (w *writer) begin() error {
	err := w.sql("BEGIN IMMEDIATE")
	if err == nil || w.sql("ROLLBACK") != nil { // SQLite refuses to end what is not there
		return err
	}
	w.log.Warn("rolled back a transaction that had been left open", "err", err)
	return w.sql("BEGIN IMMEDIATE")
}

// next takes one more that waits, unless the turn is full.
func (w *writer) next(taken int) *turn {
	if taken >= turnMax {
		return nil
	}
	select {
	case t := <-w.queue: // nil when closed
		return t
	default:
		return nil
	}
}

// runOne runs a closure, in a savepoint of its own if others are in the transaction already. Not intact: the savepoint
// could not be left, so the transaction is not there any more. SQLite ends it by itself when the disk is full, cannot be
// read or written, or memory is short; the next SAVEPOINT would then begin a transaction of its own, and its RELEASE
// commit it.
func (w *writer) runOne(t *turn, shared bool) (err error, intact bool) { //nolint:revive // the error is the closure's
	if !shared {
		return w.call(t), true
	}
	if err := w.sql("SAVEPOINT s"); err != nil {
		return err, true
	}
	if err = w.call(t); err == nil {
		if err = w.sql("RELEASE s"); err != nil {
			return task.Gone("database_unavailable", err), false
		}
		return nil, true
	}
	if w.sql("ROLLBACK TO s") != nil || w.sql("RELEASE s") != nil {
		return err, false
	}
	return err, true
}

// call calls a closure. A panic is an error of the closure alone: the goroutine is everybody's.
func (w *writer) call(t *turn) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in a transaction: %v", p)
			w.log.Error("panic in a transaction", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	inner := &connTx{conn: w.conn}
	// Without the caller's cancellation: the driver would need a goroutine per statement to watch it, and an interrupted
	// statement would roll everybody's transaction back.
	return t.fn(context.WithValue(context.WithoutCancel(t.ctx), txKey{}, inner), inner)
}

// lost ends a turn whose transaction is gone: nothing of it is stored, whatever its closures were told.
func (w *writer) lost(batch []*turn, cause error) {
	w.log.Error("transaction rolled back by the database", "err", cause)
	w.rollback()
	for _, t := range batch {
		if t.err == nil {
			t.err = task.Gone("database_unavailable", cause)
		}
	}
}

// commit ends the turn. A failed commit rolls everybody back: nothing of it is visible, but after an I/O error a later
// recovery of the log might find it, so the outcome is unknown.
func (w *writer) commit(batch []*turn) {
	err := w.sql("COMMIT")
	if err == nil {
		err = lostAnswer(batch)
	}
	if err == nil {
		return
	}
	w.log.Error("commit failed", "err", err)
	w.rollback()
	if unreachable(err) && !repeatable(err) {
		err = unknown(err)
	}
	for _, t := range batch {
		if t.err == nil {
			t.err = err
		}
	}
}

func (w *writer) rollback() {
	if err := w.sql("ROLLBACK"); err != nil { // SQLite may have done it already
		w.log.Debug("rollback", "err", err)
	}
}

func (w *writer) sql(q string) error {
	_, err := w.conn.ExecContext(context.Background(), q)
	return err
}
