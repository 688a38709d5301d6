package sqldb

import (
	"context"
	"database/sql"

	"github.com/taskweir/taskweir/internal/task"
)

// tx is one open transaction on either database. Statements are named constants beside their function; what differs
// between the dialects is chosen by Store.mysql.
type tx interface {
	// exec runs a writing statement and gives the rows it matched (not only those it changed).
	exec(ctx context.Context, query string, args ...any) (int64, error)
	// add runs a writing statement of whose count nobody needs to know. On MySQL it goes out together with the next statement,
	// or with COMMIT, and its error comes from there: it saves a round trip.
	add(ctx context.Context, query string) error
	// query runs a reading statement. The caller closes the rows before the next statement.
	query(ctx context.Context, query string, args ...any) (*sql.Rows, error)

	// noting reports whether somebody wants to know what is changed; note collects it, to be told after the commit.
	noting() bool
	note(task.Change)
	log() *changeLog
}
