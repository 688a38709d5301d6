package load

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// database reads Taskweir's tables directly.
type database struct {
	*sql.DB
	sqlite bool
}

// openDatabase opens what a TASKWEIR_DATABASE_URL names, to read only.
func openDatabase(ctx context.Context, name string) (*database, error) {
	d := &database{}
	var err error
	if path, ok := strings.CutPrefix(name, "sqlite://"); ok {
		d.sqlite = true
		file := url.URL{Scheme: "file", Path: path, RawQuery: "_pragma=busy_timeout(10000)&_pragma=query_only(1)"}
		d.DB, err = sql.Open("sqlite", file.String())
	} else {
		var config *mysql.Config
		var connector driver.Connector
		if config, err = mysqlConfig(name); err == nil {
			connector, err = mysql.NewConnector(config) // a DSN would not say that it logs nothing
		}
		if err == nil {
			d.DB = sql.OpenDB(connector)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("load: open the database: %w", err)
	}
	d.SetMaxOpenConns(3)
	if d.sqlite {
		d.SetMaxIdleConns(-1) // one that stayed open would keep alive what the next start after a kill has to recover
	}
	if err := d.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("load: reach the database: %w", err), d.Close())
	}
	return d, nil
}

func mysqlConfig(name string) (*mysql.Config, error) {
	u, err := url.Parse(name)
	if err != nil || u.Scheme != "mysql" {
		return nil, errors.New("want sqlite:///path or mysql://user:password@host:port/database")
	}
	c := mysql.NewConfig()
	c.User = u.User.Username()
	c.Passwd, _ = u.User.Password()
	c.Net, c.Addr, c.DBName = "tcp", net.JoinHostPort(u.Hostname(), u.Port()), strings.TrimPrefix(u.Path, "/")
	c.Timeout, c.ReadTimeout, c.WriteTimeout = 3*time.Second, 30*time.Second, 30*time.Second
	c.Logger = &mysql.NopLogger{} // the server is taken away while it is read
	return c, nil
}

func (d *database) close() error {
	if err := d.Close(); err != nil {
		return fmt.Errorf("load: close the database: %w", err)
	}
	return nil
}

// now is the database's clock, ms. That of SQLite is the machine's.
func (d *database) now(ctx context.Context) (ms int64, err error) {
	if d.sqlite {
		return time.Now().UnixMilli(), nil
	}
	return ms, d.one(ctx, &ms, "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)")
}

// one reads one value.
func (d *database) one(ctx context.Context, to any, query string, args ...any) error {
	if err := d.QueryRowContext(ctx, query, args...).Scan(to); err != nil {
		return fmt.Errorf("load: read the database: %w", err)
	}
	return nil
}

// each reads rows.
func (d *database) each(ctx context.Context, query string, args []any, row func(scan func(...any) error) error) error {
	rows, err := d.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("load: read the database: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return fmt.Errorf("load: read the database: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("load: read the database: %w", err)
	}
	return nil
}

func (d *database) appID(ctx context.Context, key string) (id int64, err error) {
	return id, d.one(ctx, &id, "SELECT id FROM apps WHERE app_key=?", key)
}

func (d *database) nextSlot(ctx context.Context, schedule int64) (ms int64, err error) {
	return ms, d.one(ctx, &ms, "SELECT next_at FROM schedules WHERE id=?", schedule)
}

// open counts tasks of an app that are not final.
func (d *database) open(ctx context.Context, app int64) (n int, err error) {
	return n, d.one(ctx, &n, "SELECT COUNT(*) FROM tasks WHERE app_id=? AND state IN (1,2,3)", app)
}

// numbers reads a list of ids as bells and claims have it.
func numbers(list string) []int64 {
	var ids []int64
	if json.Unmarshal([]byte("["+list+"]"), &ids) != nil {
		return nil
	}
	return ids
}
