package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

const yardTable = "taskweir_bench_yard"

// insertRate is yardstick I or S: rows/s of plain 500-row INSERTs over two connections into a table with one secondary
// index. SQLite has one writer by nature; there the two take turns.
func insertRate(ctx context.Context, sys System, d time.Duration) (rate float64, err error) {
	db := sys.Yard()
	body, suffix := "VARBINARY(255)", " ENGINE=InnoDB"
	if sys.SQLite() {
		body, suffix = "BLOB", ""
	}
	for _, q := range []string{
		"DROP TABLE IF EXISTS " + yardTable,
		"CREATE TABLE " + yardTable + " (id BIGINT NOT NULL PRIMARY KEY, app_id INT NOT NULL, created_at BIGINT NOT NULL, body " + body + " NOT NULL)" + suffix,
		"CREATE INDEX " + yardTable + "_app ON " + yardTable + " (app_id, id)",
	} {
		if _, err := db.ExecContext(ctx, q); err != nil {
			return 0, fmt.Errorf("yardstick: %w", err)
		}
	}
	defer func() {
		_, drop := db.ExecContext(context.WithoutCancel(ctx), "DROP TABLE "+yardTable)
		err = errors.Join(err, drop)
	}()
	const rows = 500
	query := "INSERT INTO " + yardTable + " VALUES " + strings.Repeat("(?,?,?,?),", rows-1) + "(?,?,?,?)"
	var next atomic.Int64
	n, took, err := callers(ctx, 2, d, func(ctx context.Context, _ int) error {
		args := make([]any, 0, 4*rows)
		first := next.Add(rows) - rows
		for i := range int64(rows) {
			args = append(args, first+i, int64(1), first, noop)
		}
		_, err := db.ExecContext(ctx, query, args...)
		return err
	})
	return perSecond(n*rows, took), err
}

// bareRate is yardstick H: POSTs/s that a bare Go server answers that many clients.
func bareRate(ctx context.Context, clients int, d time.Duration) (float64, error) {
	server, err := newBareServer()
	if err != nil {
		return 0, err
	}
	defer server.close()
	p := newPost(server.url, "0123456789abcdef", clients)
	defer p.close()
	body := submitBody("default", noop)
	buffers := make([]bytes.Buffer, clients)
	n, took, err := callers(ctx, clients, d, func(ctx context.Context, i int) error { return p.send(ctx, "/v1/tasks", body, &buffers[i]) })
	return perSecond(n, took), err
}
