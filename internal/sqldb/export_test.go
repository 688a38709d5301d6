package sqldb

import (
	"context"
	"database/sql"
)

// ExecForTest runs one statement as a transaction.
func (s *Store) ExecForTest(ctx context.Context, query string, args ...any) error {
	return s.exec(ctx, query, args...)
}

// ReaderForTest gives the connections for plain reads.
func (s *Store) ReaderForTest() *sql.DB { return s.db }
