// Package small is a cluster of separate processes of Taskweir on private servers, with nothing between them: for runs that hurt
// something else than processes and networks, and that exchange the programs of processes while they run.
package small

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/test/faults/record"
)

// database is the name of the cluster's.
const database = "taskweir"

// Options say what a cluster is made of.
type Options struct {
	Recorder *record.Recorder // is told of every start and end; required
	Migrate  testkit.Programs // brings the schema up to date; required
	NSQDs    int              // 0: 1
	// NSQD starts a broker in place of the standard ones, and gives its TCP address; nil: standard ones.
	NSQD func(ctx context.Context, dir string) (addr string, stop func(), err error)
	Env  []string // for every process
}

// Cluster is a running one, at first without a process of Taskweir.
type Cluster struct {
	Keys testkit.Keys

	o        Options
	servers  *testkit.Servers
	stopNSQD func()
	env      []string
	units    []*Unit
}

// Start starts the servers and makes the schema. On an error nothing is left.
func Start(ctx context.Context, o Options) (_ *Cluster, err error) {
	servers, err := testkit.StartServers(ctx, testkit.ServersOptions{NSQDs: o.NSQDs, NoNSQ: o.NSQD != nil})
	if err != nil {
		return nil, err
	}
	c := &Cluster{Keys: testkit.NewKeys(), o: o, servers: servers, stopNSQD: func() {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	c.env = append(append(servers.Env(database), c.Keys.Env()...), "TASKWEIR_OUTBOUND_ALLOW=127.0.0.0/8")
	if o.NSQD != nil {
		addr, stop, err := o.NSQD(ctx, servers.Dir)
		if err != nil {
			return nil, err
		}
		c.stopNSQD = stop
		c.env = append(c.env, "TASKWEIR_NSQ_NSQD="+addr)
	}
	c.env = append(c.env, o.Env...)
	if err := servers.MariaDB.CreateDatabase(ctx, database); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, o.Migrate.Path("taskweir"), "migrate", "up")
	cmd.Env = append(os.Environ(), "TASKWEIR_DATABASE_URL="+c.DatabaseURL())
	cmd.Dir = servers.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("taskweir migrate up: %w\n%s", err, out)
	}
	return c, nil
}

// DatabaseURL is the database as TASKWEIR_DATABASE_URL.
func (c *Cluster) DatabaseURL() string { return c.servers.MariaDB.URL(database) }

// Logs lists the files of logs.
func (c *Cluster) Logs() []string {
	logs, _ := filepath.Glob(filepath.Join(c.servers.Dir, "*.log")) // the pattern is a good one
	return logs
}

// APIs are the base URLs of the api processes.
func (c *Cluster) APIs() (urls []string) {
	for _, u := range c.units {
		if u.role == "api" {
			urls = append(urls, u.URL())
		}
	}
	return urls
}

// Close kills everything and removes the folder.
func (c *Cluster) Close() error {
	for _, u := range c.units {
		u.p.Kill()
	}
	c.stopNSQD()
	return c.servers.Close()
}

// Unit is a process with a place in the cluster: its name and address stay when its program is exchanged.
type Unit struct {
	Name string

	c     *Cluster
	role  string
	addr  string
	p     *testkit.Process
	ended func()
}

// Add starts a process: api, scheduler or worker.
func (c *Cluster) Add(ctx context.Context, name, role string, programs testkit.Programs) (*Unit, error) {
	port, err := testkit.FreePort()
	if err != nil {
		return nil, err
	}
	u := &Unit{Name: name, c: c, role: role, addr: testkit.Loopback(port)}
	if err := u.start(ctx, programs); err != nil {
		return nil, err
	}
	c.units = append(c.units, u)
	return u, nil
}

func (u *Unit) start(ctx context.Context, programs testkit.Programs) error {
	setting := "TASKWEIR_OPS_ADDR="
	if u.role == "api" {
		setting = "TASKWEIR_HTTP_ADDR="
	}
	began := u.c.o.Recorder.Now()
	p, err := testkit.Start(ctx, testkit.Spec{Name: u.Name, Path: programs.Path(u.role), Env: append([]string{setting + u.addr}, u.c.env...), Dir: u.c.servers.Dir,
		Log: filepath.Join(u.c.servers.Dir, u.Name+".log"), Ready: testkit.Answers(u.addr, "/readyz"), StopWait: 30 * time.Second})
	if err != nil {
		return err
	}
	u.p, u.ended = p, u.c.o.Recorder.Life(u.Name, u.role, p.PID(), began)
	return nil
}

// URL is where the process is reached.
func (u *Unit) URL() string { return "http://" + u.addr }

// Replace drains the process and starts another program in its place. It gives when the first had ended, by the run's clock.
func (u *Unit) Replace(ctx context.Context, programs testkit.Programs) (ended time.Duration, err error) {
	if err := u.p.Stop(ctx); err != nil {
		return 0, err
	}
	u.ended()
	return u.c.o.Recorder.Now(), u.start(ctx, programs)
}

// Surprises lists the processes that ended although nobody ended them.
func (c *Cluster) Surprises() (list []string) {
	for _, u := range c.units {
		if !u.p.Running() {
			list = append(list, fmt.Sprintf("%s ended by itself with exit code %d\n%s", u.Name, u.p.ExitCode(), strings.TrimSpace(u.p.Tail(2000))))
		}
	}
	return list
}
