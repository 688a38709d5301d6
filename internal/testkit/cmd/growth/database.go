package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

// database is one of those that are compared.
type database struct {
	name              string // of the schema
	title             string
	finished, waiting int
	present           int64 // finished tasks that it has now

	env          []string // how Taskweir's processes find it
	apps         []int64  // by the share of tasks, the largest first
	app, key     string   // the first app's public id and a key of it
	small        string   // the last app's
	lanes, kinds []int64
	queues       []string
	first        int64 // id of the first finished task
	begin, end   int64 // when they were made, ms
	firstWaiting int64
}

// forever keeps tasks as long as the settings can say: no purge.
const forever = "3650d"

// query runs statements in the database.
func (k *kit) query(ctx context.Context, d *database, format string, args ...any) (string, error) {
	return k.servers.MariaDB.Query(ctx, "USE "+d.name+"; "+fmt.Sprintf(format, args...))
}

// number runs a query that gives one number.
func (k *kit) number(ctx context.Context, d *database, format string, args ...any) (int64, error) {
	text, err := k.query(ctx, d, format, args...)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%.100s: %w", format, err)
	}
	return n, nil
}

// role starts a process of Taskweir on a database.
func (k *kit) role(ctx context.Context, d *database, program string, env ...string) (*testkit.Process, string, error) {
	port, err := testkit.FreePort()
	if err != nil {
		return nil, "", err
	}
	addr := testkit.Loopback(port)
	where := "TASKWEIR_OPS_ADDR="
	if program == "api" {
		where = "TASKWEIR_HTTP_ADDR="
	}
	p, err := testkit.Start(ctx, testkit.Spec{Name: program, Path: k.programs.Path(program), Dir: k.servers.Dir, Env: append(append(slices.Clone(d.env), where+addr), env...),
		Log: filepath.Join(k.servers.Dir, program+"-"+d.name+".log"), Ready: testkit.Answers(addr, "/readyz"), StopWait: time.Minute})
	return p, "http://" + addr, err
}

// create makes the empty database, the apps, queues and kinds of its tasks, and a key.
func (k *kit) create(ctx context.Context, d *database, redis int) error {
	if err := k.servers.MariaDB.CreateDatabase(ctx, d.name); err != nil {
		return err
	}
	d.env = append(k.servers.Env(d.name), k.keys.Env()...)
	d.env = append(d.env, "TASKWEIR_REDIS_URL="+fmt.Sprint(k.servers.Redis.URL(), redis))
	migrate := exec.CommandContext(ctx, k.programs.Path("taskweir"), "migrate", "up")
	migrate.Env = append(migrate.Environ(), d.env...)
	if out, err := migrate.CombinedOutput(); err != nil {
		return fmt.Errorf("taskweir migrate up: %w\n%s", err, out)
	}
	api, url, err := k.role(ctx, d, "api")
	if err != nil {
		return err
	}
	c := newCaller(url, k.keys.Bootstrap)
	err = d.furnish(ctx, c)
	c.close()
	if serr := api.Stop(ctx); err == nil {
		err = serr
	}
	if err != nil {
		return err
	}
	return k.ids(ctx, d)
}

// furnish makes what tasks belong to.
func (d *database) furnish(ctx context.Context, c *caller) error {
	for i, name := range []string{"shop", "billing", "mailer", "reports"} {
		var app struct{ ID string }
		if err := c.call(ctx, "POST", "/v1/apps", map[string]any{"name": name}, &app); err != nil {
			return err
		}
		if d.small = app.ID; i > 0 {
			continue
		}
		d.app = app.ID
		var made struct{ Key string }
		if err := c.call(ctx, "POST", "/v1/apps/"+app.ID+"/keys", map[string]any{"name": "growth", "scope": "manage"}, &made); err != nil {
			return err
		}
		d.key = made.Key
	}
	d.queues = []string{"orders", "mail", "reports"}
	for _, queue := range append([]string{heldQueue, dueQueue, freshQueue}, d.queues...) {
		if err := c.call(ctx, "PUT", "/v1/queues/"+queue, map[string]any{"paused": queue == heldQueue}, nil); err != nil {
			return err
		}
	}
	for _, kind := range kindNames {
		if err := c.call(ctx, "PUT", "/v1/kinds/"+kind, nil, nil); err != nil {
			return err
		}
	}
	return d.lanesOf(ctx, c, append([]string{heldQueue}, d.queues...))
}

// lanesOf makes the lanes of queues: a queue has one from its first task on.
func (d *database) lanesOf(ctx context.Context, c *caller, queues []string) error {
	for _, queue := range queues {
		var one struct{ ID string }
		if err := c.call(ctx, "POST", "/v1/tasks", map[string]any{"kind": kindNames[0], "queue": queue, "delayMs": dayMs}, &one); err != nil {
			return err
		}
		if err := c.call(ctx, "POST", "/v1/tasks/"+one.ID+"/cancel", nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// The queue whose backlog waits because it is paused, and those of the downtime.
const (
	heldQueue  = "held"
	dueQueue   = "due"
	freshQueue = "fresh"
)

// kindNames: few tasks are of the last.
var kindNames = []string{"charge", "notify", "render", "rare"}

// ids reads the numbers of what furnish made.
func (k *kit) ids(ctx context.Context, d *database) error {
	for _, one := range []struct {
		into  *[]int64
		query string
		want  int
	}{
		{&d.apps, "SELECT id FROM apps WHERE name IN ('shop','billing','mailer','reports') ORDER BY id", 4},
		{&d.lanes, "SELECT id FROM lanes WHERE queue IN ('orders','mail','reports') ORDER BY id", 3},
		{&d.kinds, "SELECT id FROM kinds WHERE name IN ('charge','notify','render','rare') ORDER BY FIELD(name,'charge','notify','render','rare')", 4},
	} {
		text, err := k.query(ctx, d, "%s", one.query)
		if err != nil {
			return err
		}
		for _, field := range strings.Fields(text) {
			id, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return fmt.Errorf("%s: %w", one.query, err)
			}
			*one.into = append(*one.into, id)
		}
		if len(*one.into) != one.want {
			return fmt.Errorf("%s: %d rows, not %d", one.query, len(*one.into), one.want)
		}
	}
	return nil
}

// instant is a time of the database, in ms, as the API takes it.
func instant(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z07:00")
}
