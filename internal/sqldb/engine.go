package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/taskweir/taskweir/internal/task"
)

// engine is what claim, finish, release and the chores keep in memory. Its zero value is ready.
type engine struct {
	writerOnce sync.Once
	writer     int64 // this process's writer of stats rows
	sizes      atomic.Pointer[laneSizes]
	hists      histograms
	systemApp  atomic.Int32 // its id, once it was found
	patience   atomic.Int64 // ns for looking an unknown commit up; 0: settleTimeout

	completions completionHome
	observer    Observer // nil: none

	leaseLengths sync.Map // class of leases (string) → ms (int64), as last asked for
}

// statsWriter is this process's writer id in stats. It only keeps writers off each other's rows (an upsert adds), so a
// random number does: two equal ones would cost a wait, never a count. 0 is the folded row.
func (s *Store) statsWriter() int64 {
	s.engine.writerOnce.Do(func() { s.engine.writer = rand.Int64N(1<<53-1) + 1 })
	return s.engine.writer
}

// force makes a statement by primary key a range access at every table size (protocol section 3, first rule).
func (s *Store) force() string {
	if s.mysql {
		return " FORCE INDEX (PRIMARY)"
	}
	return ""
}

// locked ends a SELECT that locks the n rows that it names by primary key, in order of column.
func (s *Store) locked(x *text, column string, n int) *text {
	x.s(" ORDER BY ").s(column)
	if s.mysql {
		x.s(" LIMIT ").n(int64(n)).s(" FOR UPDATE")
	}
	return x
}

// settleTimeout bounds how long an unknown commit is looked up, settleRuns how often what was not committed runs again.
const (
	settleTimeout = 8 * time.Second
	settleRuns    = 3
)

// writeSettled runs fn like write. When the outcome of its COMMIT is not known it is looked up by committed, which must
// use a locking read: a transaction that the server still holds makes it wait, so the answer is exact. What was not
// committed runs again; what stays unknown wraps task.ErrOutcomeUnknown.
func (s *Store) writeSettled(ctx context.Context, fn func(context.Context, tx) error, committed func(context.Context) (bool, error)) error {
	var err error
	for run := range settleRuns {
		err = s.observed(ctx, fn)
		if err == nil || !errors.Is(err, task.ErrOutcomeUnknown) && (run == 0 || !duplicate(err)) {
			return err
		}
		// A duplicate key after an unknown outcome means committed, so that is looked up too.
		done := false
		if lookErr := s.persist(ctx, func(ctx context.Context) (err error) {
			done, err = committed(ctx)
			return err
		}); lookErr != nil {
			return fmt.Errorf("%w (looking it up: %w)", errors.Join(task.ErrOutcomeUnknown, err), lookErr)
		}
		if done {
			return nil
		}
		// The server answered (read-only, no room, shutting down), so nothing is under way any more: it is known now.
		if m := (*mysql.MySQLError)(nil); errors.As(err, &m) && !duplicate(err) {
			return task.Gone("database_unavailable", m)
		}
	}
	return err
}

// writeAgain is writeSettled for transactions that find nothing left to do when they were committed before: an unknown
// outcome is settled by running them again.
func (s *Store) writeAgain(ctx context.Context, fn func(context.Context, tx) error) error {
	err := s.observed(ctx, fn)
	if !errors.Is(err, task.ErrOutcomeUnknown) {
		return err
	}
	final := error(nil) // an answer of the database, which repeating would not change
	if err := s.persist(ctx, func(ctx context.Context) error {
		err := s.observed(ctx, fn)
		if err == nil || errors.Is(err, task.ErrOutcomeUnknown) || task.KindOf(err) == task.Unavailable {
			return err
		}
		final = err
		return nil
	}); err != nil {
		return errors.Join(task.ErrOutcomeUnknown, err)
	}
	return final
}

// persist tries f again with growing pauses for at most settleTimeout, also when ctx has ended: the caller has to know.
func (s *Store) persist(ctx context.Context, f func(context.Context) error) error {
	patience := time.Duration(s.engine.patience.Load())
	if patience == 0 {
		patience = settleTimeout
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	for wait := 5 * time.Millisecond; ; wait = min(3*wait, time.Second) {
		err := f(ctx)
		if err == nil {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}

// shared ends a SELECT of a look-up so that it waits for a transaction that still holds the rows.
func (s *Store) shared() string {
	if s.mysql {
		return " LOCK IN SHARE MODE"
	}
	return ""
}

// forEach runs a reading statement in a transaction and gives each row to scan.
func forEach(ctx context.Context, t tx, query string, scan func(*sql.Rows) error) error {
	rows, err := t.query(ctx, query)
	return eachRow(rows, err, scan)
}

// readEach runs a reading statement outside of transactions and gives each row to scan.
func (s *Store) readEach(ctx context.Context, query string, scan func(*sql.Rows) error, args ...any) error {
	rows, err := s.reader().QueryContext(ctx, query, args...)
	if err = eachRow(rows, err, scan); err != nil {
		return s.interpret(err)
	}
	return nil
}

func eachRow(rows *sql.Rows, err error, scan func(*sql.Rows) error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
