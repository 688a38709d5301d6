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
