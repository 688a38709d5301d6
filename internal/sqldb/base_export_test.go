package sqldb

import (
	"context"
	"time"
)

// WriteForTest runs a transaction of statements.
func (s *Store) WriteForTest(ctx context.Context, fn func(exec func(string) error) error) error {
	return s.write(ctx, func(ctx context.Context, t tx) error {
		return fn(func(q string) error {
			_, err := t.exec(ctx, q)
			return err
		})
	})
}

// NestForTest runs a transaction inside a transaction.
func (s *Store) NestForTest(ctx context.Context) error {
	return s.write(ctx, func(ctx context.Context, _ tx) error {
		return s.write(ctx, func(context.Context, tx) error { return nil })
	})
}

// DropRunIDs throws away the block of ids that bells, claims and attempts get.
func (s *Store) DropRunIDs() { s.runs.drop() }

// ForgetPlans makes the next look ask again what the server would read for it.
func (s *Store) ForgetPlans() {
	s.fairPlan.last.Store(nil)
	s.duePlan.last.Store(nil)
}

// LeaveOpen begins a transaction on SQLite's connection that nobody ends.
func (s *Store) LeaveOpen() error { return s.writer.sql("BEGIN IMMEDIATE") }

// SetListTime sets when a list that has not found enough gives what it has.
func (s *Store) SetListTime(d time.Duration) { s.listTime = d }

// QueuedForTest is how many transactions wait for the writer of SQLite.
func (s *Store) QueuedForTest() int { return len(s.writer.queue) }

// ExpireBellsForTest executes expire bells as if they had been found due.
func (s *Store) ExpireBellsForTest(ctx context.Context, bells []int64) (n int, err error) {
	err = s.write(ctx, func(ctx context.Context, t tx) (err error) {
		n, err = s.expireBells(ctx, t, bells)
		return err
	})
	return n, err
}
