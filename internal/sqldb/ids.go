package sqldb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	blockMin    = 64
	blockMax    = 10_000
	blockMaxAge = 5 * time.Second
)

// blocks hands out ids of one sequence from blocks that this process took from the database. A block grows with use and
// is thrown away when it is 5 s old, so that ids and time disagree by seconds at most.
type blocks struct {
	name string

	mu        sync.Mutex
	next, end int64 // [next, end) is free
	size      int64
	taken     time.Time // monotonic
}

// take gives the first of n consecutive ids.
func (b *blocks) take(ctx context.Context, s *Store, n int) (int64, error) {
	if n < 1 {
		return 0, fmt.Errorf("allocate %d ids of %s", n, b.name)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	fresh := time.Since(b.taken) < blockMaxAge
	if !fresh || b.end-b.next < int64(n) {
		if fresh {
			b.size = min(blockMax, b.size*2)
		} else {
			b.size = b.size / 2
		}
		b.size = max(blockMin, b.size)
		want := max(b.size, int64(n))
		first, err := s.allocate(ctx, b.name, want)
		if err != nil {
			return 0, err
		}
		b.next, b.end, b.taken = first, first+want, time.Now()
	}
	first := b.next
	b.next += int64(n)
	return first, nil
}

// drop throws the block away: one of its ids was found in use.
func (b *blocks) drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next, b.end = 0, 0
}

// Statements of the allocator. LAST_INSERT_ID(x) makes the new value part of the statement's answer.
const (
	sqlIDsMySQL  = "UPDATE ids SET next = LAST_INSERT_ID(next + ?) WHERE name = ?"
	sqlIDsSQLite = "UPDATE ids SET next = next + ? WHERE name = ?"
	sqlIDsRead   = "SELECT next FROM ids WHERE name = ?"
)

// allocate takes n consecutive ids from the database, in a transaction of its own. Whether a block was taken of which the answer
// was lost does not matter, it is only never used: another one is taken.
func (s *Store) allocate(ctx context.Context, name string, n int64) (int64, error) {
	once := s.allocateMySQL
	if !s.mysql {
		once = s.allocateSQLite
	}
	for try := 1; ; try++ {
		first, err := once(ctx, name, n)
		unheard := errors.Is(err, task.ErrOutcomeUnknown) || errors.Is(err, mysql.ErrInvalidConn)
		switch {
		case err == nil:
			return first, nil
		case repeatable(err) && try < maxRepeats, unheard && try < settleRuns:
		case unheard:
			return 0, task.Gone("database_unavailable", errors.New(err.Error())) // to callers it is not unknown: nothing of theirs was done
		default:
			return 0, s.interpret(err)
		}
		if err := pause(ctx, try); err != nil {
			return 0, err
		}
	}
}

func (s *Store) allocateSQLite(ctx context.Context, name string, n int64) (first int64, err error) {
	err = s.write(ctx, func(ctx context.Context, t tx) error {
		first, err = allocateIn(ctx, t, name, n)
		return err
	})
	return first, err
}

func (s *Store) allocateMySQL(ctx context.Context, name string, n int64) (int64, error) {
	res, err := s.alloc.ExecContext(ctx, sqlIDsMySQL, n, name)
	if err != nil {
		return 0, fmt.Errorf("allocate ids: %w", err)
	}
	if rows, err := res.RowsAffected(); err != nil || rows != 1 {
		return 0, fmt.Errorf("allocate ids: no sequence %q: %w", name, err)
	}
	next, err := res.LastInsertId()
	return next - n, err
}

// allocateIn takes ids within a transaction of SQLite; they are free again if it is rolled back.
func allocateIn(ctx context.Context, t tx, name string, n int64) (int64, error) {
	rows, err := t.exec(ctx, sqlIDsSQLite, n, name)
	if err != nil {
		return 0, fmt.Errorf("allocate ids: %w", err)
	}
	if rows != 1 {
		return 0, fmt.Errorf("allocate ids: no sequence %q", name)
	}
	next, err := scanInt(ctx, t, sqlIDsRead, name)
	return next - n, err
}

// TaskIDs takes n consecutive task ids from this process's block and gives the first.
func (s *Store) TaskIDs(ctx context.Context, n int) (int64, error) {
	return s.idsFor(ctx, &s.taskIDs, n)
}

// runIDs takes n consecutive ids of bells, claims and attempts and gives the first. Inside a transaction of SQLite they
// come from that transaction, since the block's lock may be held by somebody who waits for the writer.
func (s *Store) runIDs(ctx context.Context, n int) (first int64, err error) {
	return s.idsFor(ctx, &s.runs, n)
}

func (s *Store) idsFor(ctx context.Context, b *blocks, n int) (int64, error) {
	if t, ok := ctx.Value(txKey{}).(tx); ok {
		return allocateIn(ctx, t, b.name, int64(n))
	}
	return b.take(ctx, s, n)
}

// workerID takes an id for a worker or an owner of leases: never used before, never used again.
func (s *Store) workerID(ctx context.Context) (int64, error) { return s.allocate(ctx, "worker", 1) }

// scanInt reads one number.
func scanInt(ctx context.Context, t tx, query string, args ...any) (n int64, err error) {
	rows, err := t.query(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err has it
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return 0, err
		}
		return 0, errNoRow
	}
	if err := rows.Scan(&n); err != nil {
		return 0, err
	}
	return n, rows.Err()
}
