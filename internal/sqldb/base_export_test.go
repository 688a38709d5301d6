package sqldb

import (
	"context"
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
