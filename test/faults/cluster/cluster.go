package cluster

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/test/faults/network"
)

// Database is the name of the cluster's database.
const Database = "taskweir"

// afterTrouble is how long after the last fault a start may still fail because of it.
const afterTrouble = 30 * time.Second

// Options say what a cluster is made of.
type Options struct {
	// Programs are built with the tag faults; by the name of the unit, so that some can be built with -race. Required.
	Programs func(unit string) testkit.Programs
	// Sink is where the links of the workers to the sink end; empty: there are none. SinkURL is what tasks call.
	Sink string
	// Env is for every process of Taskweir.
	Env []string
	// Now is the run's clock. Required.
	Now func() time.Duration
}

// Cluster is a running one.
type Cluster struct {
	Dir  string
	Keys testkit.Keys
	Net  *network.Network

	o      Options
	ctx    context.Context
	cancel context.CancelFunc
	units  []*Unit
	door   *Door
	views  []*View
	maria  *testkit.MariaDB
	redis  *testkit.Redis
	db     *sql.DB
	apis   map[string]string // name → address without a link

	hurting atomic.Int64
	calm    atomic.Int64 // when the last fault ended, on the run's clock
}

// Start starts everything and waits until all of it is ready. On an error nothing is left.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	dir, err := testkit.TempDir()
	if err != nil {
		return nil, err
	}
	c := &Cluster{Dir: dir, Keys: testkit.NewKeys(), Net: network.New(), o: o, apis: map[string]string{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.calm.Store(int64(-afterTrouble))
	start, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := c.start(start); err != nil {
		return nil, errors.Join(fmt.Errorf("start the cluster: %w", err), c.Close())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	for _, step := range []func(context.Context) error{c.startServers, c.startBrokers, c.migrate, c.startOurs} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	for _, u := range c.units {
		if err := u.Ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// unit makes the unit of a name.
func (c *Cluster) unit(name string, r Role) *Unit {
	u := &Unit{Name: name, Role: r, now: c.o.Now, hurt: c.hurt}
	c.units = append(c.units, u)
	return u
}

func wasReady(context.Context) error { return nil } // testkit has waited for it

func (c *Cluster) startServers(ctx context.Context) error {
	var failed [2]error
	var wg sync.WaitGroup
	wg.Go(func() { c.maria, failed[0] = testkit.StartMariaDB(ctx, c.Dir, testkit.MariaDBOptions{}) })
	wg.Go(func() { c.redis, failed[1] = testkit.StartRedis(ctx, c.Dir) })
	wg.Wait()
	if err := errors.Join(failed[:]...); err != nil {
		return err
	}
	c.unit("mariadb", MariaDB).take(c.ctx, c.maria.Process, wasReady)
	c.unit("redis", Redis).take(c.ctx, c.redis.Process, wasReady)
	return c.openDatabase(ctx)
}

// startBrokers starts both nsqlookupd, and both nsqd with links to them.
func (c *Cluster) startBrokers(ctx context.Context) error {
	tools, err := testkit.NSQTools(ctx)
	if err != nil {
		return err
	}
	shape := Standard()
	tcp, http := map[string]string{}, map[string]string{}
	for _, name := range shape.Named(NSQLookupd) {
		l, err := testkit.StartNSQLookupd(ctx, tools, c.Dir, name)
		if err != nil {
			return err
		}
		c.unit(name, NSQLookupd).take(c.ctx, l.Process, wasReady)
		tcp[name], http[name] = l.TCPAddr(), l.Addr()
	}
	nsqds := map[string]string{}
	for _, name := range shape.Named(NSQD) {
		var lookupds []string
		for _, to := range shape.Named(NSQLookupd) {
			l, err := c.Net.Connect(name, to, tcp[to])
			if err != nil {
				return err
			}
			lookupds = append(lookupds, l.Addr())
		}
		d, err := testkit.StartNSQD(ctx, tools, c.Dir, name, lookupds...)
		if err != nil {
			return err
		}
		u := c.unit(name, NSQD)
		u.wipe = func() error { return empty(d.Data) }
		u.take(c.ctx, d.Process, wasReady)
		nsqds[name] = d.Addr()
	}
	return c.connect(nsqds, http)
}

// migrate makes the schema.
func (c *Cluster) migrate(ctx context.Context) error {
	if err := c.maria.CreateDatabase(ctx, Database); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, c.o.Programs("").Path("taskweir"), "migrate", "up")
	cmd.Env = append(os.Environ(), "TASKWEIR_DATABASE_URL="+c.maria.URL(Database))
	cmd.Dir = c.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("taskweir migrate up: %w\n%s", err, out)
	}
	return nil
}

// startOurs starts the processes of Taskweir, all at once.
func (c *Cluster) startOurs(ctx context.Context) error {
	for _, m := range members() {
		if !m.Role.Ours() {
			continue
		}
		own, err := testkit.FreePort()
		if err != nil {
			return err
		}
		points, err := testkit.FreePort()
		if err != nil {
			return err
		}
		if m.Role == API {
			c.apis[m.Name] = testkit.Loopback(own)
			if _, err := c.Net.Connect("client", m.Name, testkit.Loopback(own)); err != nil {
				return err
			}
		}
		u := c.unit(m.Name, m.Role)
		u.faults = testkit.Loopback(points)
		if err := u.supervise(c.ctx, testkit.Spec{Name: m.Name, Path: c.o.Programs(m.Name).Path(string(m.Role)), Dir: c.Dir,
			Env: c.env(m, testkit.Loopback(own), u.faults), Log: filepath.Join(c.Dir, m.Name+".log"),
			Ready: testkit.Answers(testkit.Loopback(own), "/readyz"), StopWait: 30 * time.Second}); err != nil {
			return err
		}
	}
	return nil
}

// Unit gives the unit of that name, nil when there is none.
func (c *Cluster) Unit(name string) *Unit {
	for _, u := range c.units {
		if u.Name == name {
			return u
		}
	}
	return nil
}

// Units lists all of them, servers first.
func (c *Cluster) Units() []*Unit { return c.units }

// Hurt says that something is being hurt until the function is called that it gives: until then, and for a while after, the
// start of a process may fail.
func (c *Cluster) Hurt() (over func()) {
	c.hurting.Add(1)
	return func() { c.calm.Store(int64(c.o.Now())); c.hurting.Add(-1) }
}

func (c *Cluster) hurt() bool {
	return c.hurting.Load() > 0 || c.o.Now()-time.Duration(c.calm.Load()) < afterTrouble
}

// Surprises lists the ends of processes that nobody caused.
func (c *Cluster) Surprises() (all []Surprise) {
	for _, u := range c.units {
		all = append(all, u.Surprises()...)
	}
	return all
}

// Close kills everything and removes the folder.
func (c *Cluster) Close() error {
	c.cancel()
	for _, u := range c.units {
		u.close()
	}
	var errs []error
	if c.db != nil {
		errs = append(errs, c.db.Close())
	}
	if c.door != nil {
		errs = append(errs, c.door.Close())
	}
	for _, v := range c.views {
		errs = append(errs, v.Close())
	}
	errs = append(errs, c.Net.Close(), os.RemoveAll(c.Dir))
	return errors.Join(errs...)
}

// Logs lists the log of every process.
func (c *Cluster) Logs() []string {
	logs, err := filepath.Glob(filepath.Join(c.Dir, "*.log"))
	if err != nil {
		return nil // the pattern is a good one
	}
	return logs
}
