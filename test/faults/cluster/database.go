package cluster

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	_ "github.com/go-sql-driver/mysql" // the harness looks at the database without a link
)

// openDatabase makes the harness's own way to the database.
func (c *Cluster) openDatabase(context.Context) error {
	var err error
	if c.db, err = sql.Open("mysql", c.DSN()); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	c.db.SetMaxOpenConns(4)
	return nil
}

// DSN is the cluster's database for go-sql-driver/mysql, without a link.
func (c *Cluster) DSN() string {
	return "root@tcp(" + c.maria.Addr() + ")/" + Database + "?timeout=2s&readTimeout=10s&writeTimeout=10s&interpolateParams=true"
}

// DB is the harness's own way to the database, without a link.
func (c *Cluster) DB() *sql.DB { return c.db }

// FlushRedis takes everything out of Redis while it runs.
func (c *Cluster) FlushRedis(ctx context.Context) error {
	return redisCommand(ctx, c.redis.Addr(), "FLUSHALL")
}

// Running lists the tasks that run.
func (c *Cluster) Running(ctx context.Context) ([]int64, error) {
	return c.ids(ctx, "SELECT id FROM tasks WHERE state=3")
}

// Open lists those of some tasks that are not final.
func (c *Cluster) Open(ctx context.Context, tasks []int64) ([]int64, error) {
	if len(tasks) == 0 {
		return nil, nil
	}
	list := make([]string, len(tasks))
	for i, id := range tasks {
		list[i] = strconv.FormatInt(id, 10)
	}
	return c.ids(ctx, "SELECT id FROM tasks WHERE id IN ("+strings.Join(list, ",")+") AND state IN (1,2,3)")
}

func (c *Cluster) ids(ctx context.Context, query string) (ids []int64, err error) {
	rows, err := c.db.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("read tasks: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("read tasks: %w", err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read tasks: %w", err)
	}
	return ids, nil
}

// Registered is a worker as the database has it.
type Registered struct {
	ID   int64
	PID  int
	Gone bool
}

// Workers lists every worker that ever registered.
func (c *Cluster) Workers(ctx context.Context) ([]Registered, error) {
	rows, err := c.db.QueryContext(ctx, "SELECT id,state,info FROM workers")
	if err != nil {
		return nil, fmt.Errorf("read workers: %w", err)
	}
	defer rows.Close()
	var all []Registered
	for rows.Next() {
		var w Registered
		var state int
		var info []byte
		if err := rows.Scan(&w.ID, &state, &info); err != nil {
			return nil, fmt.Errorf("read workers: %w", err)
		}
		if err := json.Unmarshal(info, &w); err != nil {
			return nil, fmt.Errorf("read what worker %d says of itself: %w", w.ID, err)
		}
		w.Gone = state == 3
		all = append(all, w)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read workers: %w", err)
	}
	return all, nil
}
