package sqldb

import (
	"context"
	"database/sql"
)

// mysqlTx is an open transaction on a connection of MySQL or MariaDB. Each round trip costs both sides two system calls and
// a wake-up, as much as changing several rows. So START TRANSACTION goes out with the first statement, and statements of
// which nobody needs the count go out with the next one or with COMMIT: a claim is three round trips instead of six, a
// plain submit one instead of six. The server runs such a text statement by statement and stops at the first that fails;
// nothing is committed then.
//
// Texts of several statements are built from numbers and escaped literals only; statements with parameters go out alone.
type mysqlTx struct {
	changeLog
	conn  *sql.Conn
	queue []byte // what goes out with the next statement
	begun bool   // something was sent: there may be a transaction to roll back

	// failed is the first error. What stood behind the failed statement in its text did not run, so there is no going on
	// from here: commit gives it again.
	failed error
}

const (
	startTransaction = "START TRANSACTION"

	// maxQueue bounds the text that waits, in bytes. With the largest statement that follows it stays below the packet size
	// that doctor asks for.
	maxQueue = 1 << 20
)

func newMysqlTx(conn *sql.Conn) *mysqlTx {
	return &mysqlTx{conn: conn, queue: []byte(startTransaction)}
}

func (t *mysqlTx) add(ctx context.Context, query string) error {
	if len(t.queue)+len(query) > maxQueue {
		if err := t.send(ctx); err != nil {
			return err
		}
	}
	t.join(query)
	return nil
}

// join appends a statement to what waits.
func (t *mysqlTx) join(query string) {
	if len(t.queue) > 0 {
		t.queue = append(t.queue, ';')
	}
	t.queue = append(t.queue, query...)
}

// take gives the text of what waits and of query, and empties the queue.
func (t *mysqlTx) take(query string) string {
	t.begun = true
	if len(t.queue) == 0 {
		return query
	}
	t.join(query)
	text := string(t.queue)
	t.queue = t.queue[:0]
	return text
}

// send sends what waits.
func (t *mysqlTx) send(ctx context.Context) error {
	if len(t.queue) == 0 {
		return nil
	}
	t.begun = true
	text := string(t.queue)
	t.queue = t.queue[:0]
	_, err := t.conn.ExecContext(ctx, text)
	return t.fail(err)
}

func (t *mysqlTx) fail(err error) error {
	if t.failed == nil {
		t.failed = err
	}
	return err
}

// exec gives the count of query, the last statement of its text.
func (t *mysqlTx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := t.alone(ctx, query, args); err != nil {
		return 0, err
	}
	res, err := t.conn.ExecContext(ctx, t.take(query), args...)
	if err != nil {
		return 0, t.fail(err)
	}
	return res.RowsAffected()
}

// query gives the rows of query: the driver passes over the statements before it, which have none.
func (t *mysqlTx) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := t.alone(ctx, query, args); err != nil {
		return nil, err
	}
	rows, err := t.conn.QueryContext(ctx, t.take(query), args...)
	return rows, t.fail(err)
}

// alone sends what waits before a statement that cannot share its text.
func (t *mysqlTx) alone(ctx context.Context, query string, args []any) error {
	if len(args) > 0 || len(t.queue)+len(query) > maxQueue {
		return t.send(ctx)
	}
	return nil
}

// commit commits. A transaction that had no statement has nothing to commit.
func (t *mysqlTx) commit(ctx context.Context) error {
	if t.failed != nil {
		return t.failed
	}
	if !t.begun && string(t.queue) == startTransaction {
		return nil
	}
	_, err := t.conn.ExecContext(ctx, t.take("COMMIT"))
	return err
}
