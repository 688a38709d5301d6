package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/taskweir/taskweir/internal/task"
)

// DB gives tests the reading pool, to look behind the functions.
func (s *Store) DB() *sql.DB { return s.db }

// Exec lets tests break things.
func (s *Store) Exec(ctx context.Context, query string) error {
	return s.write(ctx, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, query)
		return err
	})
}

// Tx is a transaction for tests of what carries it.
type Tx struct{ t tx }

func (t Tx) Add(ctx context.Context, query string) error { return t.t.add(ctx, query) }

func (t Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	return t.t.exec(ctx, query, args...)
}

func (t Tx) Query(ctx context.Context, query string) (*sql.Rows, error) { return t.t.query(ctx, query) }

// Write runs one transaction.
func (s *Store) Write(ctx context.Context, fn func(context.Context, Tx) error) error {
	return s.write(ctx, func(ctx context.Context, t tx) error { return fn(ctx, Tx{t}) })
}

// SetPatience shortens the looking up of unknown commits.
func (s *Store) SetPatience(d time.Duration) { s.engine.patience.Store(int64(d)) }

// Hook sees every statement of a Store on MySQL: run executes it, and what the hook returns is what the Store sees.
// explain answers EXPLAIN of the statement on the same connection, before it runs: table and access type of each step.
type Hook func(query string, explain func() ([][2]string, error), run func() error) error

// HookMySQL puts a hook between a Store and its database. It sees the texts as they are sent: several statements joined by
// semicolons where mysqlTx joined them.
func HookMySQL(t testing.TB, s *Store, url string, hook Hook) { hookMySQL(t, s, url, hook, false) }

// HookStatements takes the texts apart: the hook sees statement by statement, and each is sent by itself.
func HookStatements(t testing.TB, s *Store, url string, hook Hook) { hookMySQL(t, s, url, hook, true) }

// IsCommit reports whether a text ends its transaction.
func IsCommit(text string) bool { return strings.HasSuffix(text, "COMMIT") }

func hookMySQL(t testing.TB, s *Store, url string, hook Hook, apart bool) {
	t.Helper()
	_, cfg, err := parseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	old := s.db
	s.db = pool(hookConnector{sessionConnector{plain}, hook, apart}, 16)
	_ = old.Close()
}

type hookConnector struct {
	driver.Connector
	hook  Hook
	apart bool
}

func (c hookConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &hookConn{conn.(mysqlConn), c.hook, c.apart}, nil
}

// mysqlConn is what the driver's connections can do.
type mysqlConn interface {
	driver.Conn
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
	driver.NamedValueChecker
	driver.Pinger
	driver.ConnBeginTx
}

type hookConn struct {
	mysqlConn
	hook  Hook
	apart bool
}

// splitText takes a text apart at the semicolons outside of its string literals.
func splitText(text string) (out []string) {
	from, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '\'':
			quoted = !quoted
		case c == ';' && !quoted:
			out = append(out, text[from:i])
			from = i + 1
		}
	}
	return append(out, text[from:])
}

// lead sends all statements of a text but the last, and gives that.
func (c *hookConn) lead(ctx context.Context, text string, args []driver.NamedValue) (last string, err error) {
	if !c.apart || len(args) > 0 {
		return text, nil
	}
	all := splitText(text)
	for _, query := range all[:len(all)-1] {
		if _, err := c.exec(ctx, query, nil); err != nil {
			return "", err
		}
	}
	return all[len(all)-1], nil
}

func (c *hookConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (res driver.Result, err error) {
	if query, err = c.lead(ctx, query, args); err != nil {
		return nil, err
	}
	return c.exec(ctx, query, args)
}

func (c *hookConn) exec(ctx context.Context, query string, args []driver.NamedValue) (res driver.Result, err error) {
	err = c.hook(query, func() ([][2]string, error) { return c.explain(ctx, query, args) }, func() error {
		res, err = c.mysqlConn.ExecContext(ctx, query, args)
		return err
	})
	return res, err
}

func (c *hookConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (rows driver.Rows, err error) {
	if query, err = c.lead(ctx, query, args); err != nil {
		return nil, err
	}
	err = c.hook(query, func() ([][2]string, error) { return c.explain(ctx, query, args) }, func() error {
		rows, err = c.mysqlConn.QueryContext(ctx, query, args)
		return err
	})
	return rows, err
}

func (c *hookConn) explain(ctx context.Context, query string, args []driver.NamedValue) ([][2]string, error) {
	rows, err := c.mysqlConn.QueryContext(ctx, "EXPLAIN "+query, args)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	table, kind, extra := -1, -1, -1
	for i, name := range rows.Columns() {
		switch strings.ToLower(name) {
		case "table":
			table = i
		case "type":
			kind = i
		case "extra":
			extra = i
		}
	}
	var steps [][2]string
	row := make([]driver.Value, len(rows.Columns()))
	for rows.Next(row) == nil {
		access := text2(row[kind])
		if access == "" {
			access = text2(row[extra])
		}
		steps = append(steps, [2]string{text2(row[table]), access})
	}
	return steps, nil
}

func text2(v driver.Value) string {
	switch v := v.(type) {
	case []byte:
		return string(v)
	case string:
		return v
	}
	return ""
}

// DueQueries are the statements that ask over all lanes and apps what is due.
func (s *Store) DueQueries() map[string]string {
	if s.mysql {
		return map[string]string{"pairs": duePairsMySQL, "shards": shardsDueMySQL}
	}
	return map[string]string{"pairs": duePairsSQLite, "shards": shardDives()}
}

// IsMySQL tells which dialect it speaks.
func (s *Store) IsMySQL() bool { return s.mysql }

// Analyze renews what the planner knows of the bells.
func (s *Store) Analyze(ctx context.Context) error {
	if s.mysql {
		_, err := s.db.ExecContext(ctx, "ANALYZE TABLE bells")
		return err
	}
	return s.Exec(ctx, "ANALYZE bells")
}

// LimitApp sets the limit of an app, which need not exist.
func (s *Store) LimitApp(ctx context.Context, a task.App) error {
	return s.setLimits(ctx, func(ctx context.Context, t tx) error { return s.limitApp(ctx, t, &a) })
}
