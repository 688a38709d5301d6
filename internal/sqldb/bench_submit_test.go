package sqldb_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

const benchBatch = 500

var benchBody, _ = task.Body{Payload: []byte(`{"url":"http://127.0.0.1:8080/hook","method":"POST","headers":{"X-Tenant":"acme"},"body":{"order":123456,"lines":[{"sku":"A-17","n":2},{"sku":"B-4","n":1}],"note":"deliver before noon, please"}}`)}.Encode()

// BenchmarkSubmit500 measures one flush of 500 tasks; "plain" is the yardstick: a multi-row INSERT of 500 rows with the
// same payload into one table with one secondary index, on the same kind of connection.
func BenchmarkSubmit500(b *testing.B) {
	for _, kind := range []string{"sqlite", "mysql"} {
		b.Run(kind+"/submit", func(b *testing.B) { benchSubmit(b, sqldbtest.New(b, kind)) })
		b.Run(kind+"/plain", func(b *testing.B) { benchPlain(b, sqldbtest.New(b, kind)) })
	}
}

func benchSubmit(b *testing.B, s *sqldb.Store) {
	ctx := context.Background()
	lane, err := s.EnsureLane(ctx, "default", task.Normal)
	if err != nil {
		b.Fatal(err)
	}
	reqs := make([]*task.Request, benchBatch)
	for i := range reqs {
		reqs[i] = &task.Request{AppID: 1, Tasks: []*task.Submission{{AppID: 1, LaneID: lane.ID, KindID: 1, TimeoutMs: 60_000, Body: benchBody}}}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		first, err := s.TaskIDs(ctx, benchBatch)
		if err != nil {
			b.Fatal(err)
		}
		for i, r := range reqs {
			r.Tasks[0].ID = first + int64(i)
		}
		if _, err := s.Submit(ctx, reqs); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*benchBatch)/b.Elapsed().Seconds(), "rows/s")
}

func benchPlain(b *testing.B, s *sqldb.Store) {
	ctx := context.Background()
	if err := s.Exec(ctx, "CREATE TABLE plain (id BIGINT NOT NULL PRIMARY KEY, app INT NOT NULL, state INT NOT NULL, created_at BIGINT NOT NULL, body VARBINARY(2000) NOT NULL)"); err != nil {
		b.Fatal(err)
	}
	if err := s.Exec(ctx, "CREATE INDEX plain_app ON plain (app, id)"); err != nil {
		b.Fatal(err)
	}
	id := int64(0)
	var text []byte
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		text = append(text[:0], "INSERT INTO plain VALUES "...)
		for i := range benchBatch {
			id++
			if i > 0 {
				text = append(text, ',')
			}
			text = strconv.AppendInt(append(text, '('), id, 10)
			text = append(text, ",1,2,1700000000000,'"...)
			text = append(append(text, benchBody[2:]...), "')"...)
		}
		if err := s.Exec(ctx, string(text)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*benchBatch)/b.Elapsed().Seconds(), "rows/s")
}
