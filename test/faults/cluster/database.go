package cluster

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// openDatabase makes the harness's own way to the database.
func (c *Cluster) openDatabase(context.Context) error {
	o := mysql.NewConfig()
	o.User, o.Net, o.Addr, o.DBName, o.InterpolateParams = "root", "tcp", c.maria.Addr(), Database, true
	o.Timeout, o.ReadTimeout, o.WriteTimeout = 2*time.Second, 10*time.Second, 10*time.Second
	o.Logger = new(mysql.NopLogger) // connections break here all the time
	connector, err := mysql.NewConnector(o)
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	c.db = sql.OpenDB(connector)
	c.db.SetMaxOpenConns(4)
	return nil
}

// DB is the harness's own way to the database, without a link.
func (c *Cluster) DB() *sql.DB { return c.db }

// FlushRedis takes everything out of Redis while it runs.
func (c *Cluster) FlushRedis(ctx context.Context) error {
	return redisCommand(ctx, c.redis.Addr(), "FLUSHALL")
}

// Run is a task that runs, and the name of the worker that has it; empty: one that is no more, or is not known yet.
type Run struct {
	Task   int64
	Worker string
}

// Running lists the tasks that run.
func (c *Cluster) Running(ctx context.Context) (list []Run, err error) {
	rows, err := c.db.QueryContext(ctx, "SELECT t.id,COALESCE(JSON_VALUE(w.info,'$.pid'),0) FROM tasks t LEFT JOIN workers w ON w.id=t.worker_id WHERE t.state=3")
	if err != nil {
		return nil, fmt.Errorf("read what runs: %w", err)
	}
	defer rows.Close()
	names := map[int]string{}
	for _, u := range c.units {
		for _, life := range u.Lives() {
			names[life.PID] = u.Name
		}
	}
	for rows.Next() {
		var task int64
		var pid int
		if err := rows.Scan(&task, &pid); err != nil {
			return nil, fmt.Errorf("read what runs: %w", err)
		}
		list = append(list, Run{task, names[pid]})
	}
	return list, rows.Err()
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

// DatabaseURL is the cluster's database as a setting of Taskweir, without a link.
func (c *Cluster) DatabaseURL() string { return c.maria.URL(Database) }

// Describe says what the database knows of tasks that hang.
func (c *Cluster) Describe(ctx context.Context, tasks []int64) (string, error) {
	var b strings.Builder
	for _, id := range tasks[:min(len(tasks), 10)] {
		const query = "SELECT CONCAT_WS(' ',t.id,l.queue,l.priority,k.name,'state',t.state,'epoch',t.epoch,'failures',t.failures,'losses',t.losses,'flags',t.flags,'due in',t.due_at-UNIX_TIMESTAMP(NOW(3))*1000," +
			"'holder',t.holder,'worker',t.worker_id,'started before',UNIX_TIMESTAMP(NOW(3))*1000-t.started_at,'timeout',t.timeout_ms,'cancel',t.cancel_at,'bell',b.id,b.direct,'claim',c.id,c.worker_id,'worker state',w.state)" +
			" FROM tasks t JOIN lanes l ON l.id=t.lane_id JOIN kinds k ON k.id=t.kind_id LEFT JOIN bells b ON b.id=t.holder LEFT JOIN claims c ON c.id=t.holder LEFT JOIN workers w ON w.id=t.worker_id WHERE t.id=?"
		var line string
		if err := c.db.QueryRowContext(ctx, query, id).Scan(&line); err != nil {
			return "", fmt.Errorf("read task %d: %w", id, err)
		}
		b.WriteString(line + "\n")
	}
	return b.String(), nil
}
