// Package standalone kills a standalone (kill -9) in a loop, at random moments of its life: while it serves, while it starts, while it
// drains, and, where the program has failpoints, at each of them; then its database also fails on purpose. It runs on its own data folder the whole time, under the same load and checked by the same checker as the cluster.
//
// A standalone is all roles at once, so each kill takes away APIs, scheduler, workers, nsqd, Redis and database. What it must
// find again is on its disk: SQLite's log, and whatever nsqd had written.
package standalone

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/test/faults/history"
	"github.com/taskweir/taskweir/test/faults/load"
	"github.com/taskweir/taskweir/test/faults/record"
	"github.com/taskweir/taskweir/test/faults/run"
)

// Group is the line of the README that these faults are counted in.
const Group = "standalone"

// Options say what is run.
type Options struct {
	Programs testkit.Programs // required
	Points   bool             // Programs are built with the tag faults: their failpoints are used too
	Seed     uint64
	Kills    int           // 0: until For is over
	For      time.Duration // 0: until Kills are done
	Rate     float64       // tasks a second; 0: 60
	Evidence string        // where logs and history go when something is wrong; empty: nowhere
	Log      io.Writer     // required
}

const (
	startsWithin   = 30 * time.Second
	recoversWithin = 60 * time.Second
	settlesWithin  = 2 * time.Minute
)

// loop is a run under way.
type loop struct {
	o     Options
	rec   *record.Recorder
	rand  *rand.Rand
	s     *testkit.Standalone
	ended func() // of the process as last started

	points string // address of the failpoints' control; empty: there are none
}

// Run starts a standalone, kills it as often as it is told, and checks the whole history. An error means that there was no run;
// what went wrong in it stands in the outcome.
func Run(ctx context.Context, o Options) (*run.Outcome, error) {
	if o.Rate == 0 {
		o.Rate = 60
	}
	dir, err := testkit.TempDir()
	if err != nil {
		return nil, err
	}
	l := &loop{o: o, rec: record.New("standalone", o.Log), rand: rand.New(rand.NewPCG(o.Seed, 0x5a))}
	began := l.rec.Now()
	var env []string
	if o.Points {
		port, err := testkit.FreePort()
		if err != nil {
			return nil, errors.Join(err, remove(dir))
		}
		l.points = testkit.Loopback(port)
		env = append(env, "TASKWEIR_FAULTS_ADDR="+l.points)
	}
	if l.s, err = testkit.StartStandalone(ctx, testkit.StandaloneOptions{Programs: o.Programs, Dir: dir, Env: env}); err != nil {
		return nil, errors.Join(err, remove(dir))
	}
	l.ended = l.rec.Life("standalone", "standalone", l.s.PID(), began)
	clients, err := load.Start(ctx, load.Options{APIs: []string{l.s.BaseURL}, Key: l.s.Key, Database: "sqlite://" + l.database(), Seed: o.Seed, Rate: o.Rate,
		Fence: true, Began: l.rec.Began})
	if err != nil {
		l.s.Kill()
		return nil, errors.Join(err, remove(dir))
	}
	failed := l.kills(ctx)
	h, stopped := clients.Stop(ctx, settlesWithin)
	out := l.rec.Finish(h, errors.Join(failed, stopped), []string{filepath.Join(dir, "standalone.log")}, o.Evidence)
	l.s.Kill()
	return out, remove(dir)
}

func (l *loop) database() string { return filepath.Join(l.s.Data, "taskweir.db") }

// enough reports whether the run has killed as much as it was to.
func (l *loop) enough(from time.Duration) bool {
	return l.o.Kills > 0 && l.rec.Faults() >= l.o.Kills || l.o.For > 0 && l.rec.Now()-from >= l.o.For || l.o.Kills <= 0 && l.o.For <= 0
}

func (l *loop) kills(ctx context.Context) error {
	from := l.rec.Now()
	for !l.enough(from) {
		if err := sleep(ctx, l.within(0, 2*time.Second)); err != nil {
			return err
		}
		if err := l.hurt(ctx); err != nil {
			return err
		}
	}
	return nil
}

// hurt does one thing.
func (l *loop) hurt(ctx context.Context) error {
	p := l.rand.Float64()
	if l.points != "" && l.rand.IntN(2) == 0 {
		if p < 0.6 {
			return l.killAt(ctx)
		}
		return l.fail(ctx)
	}
	switch {
	case p < 0.6:
		return l.kill(ctx, "kill -9 standalone", nil)
	case p < 0.8:
		return l.kill(ctx, "kill -9 standalone while it drains", func() error {
			return errors.Join(l.s.Signal(syscall.SIGTERM), sleep(ctx, l.within(0, 400*time.Millisecond)))
		})
	}
	return l.killStarts(ctx)
}

// within draws a time.
func (l *loop) within(from, to time.Duration) time.Duration {
	return from + time.Duration(l.rand.Int64N(int64(to-from)))
}

// kill kills the process once, after what comes before it, and starts it again.
func (l *loop) kill(ctx context.Context, kind string, before func() error) error {
	running, err := l.running(ctx)
	if err != nil {
		return err
	}
	f := l.fault(kind)
	if before != nil {
		if err := before(); err != nil {
			return err
		}
		if !l.s.Running() {
			f.Kind = "SIGTERM standalone" // it was done before it could be killed
		}
	}
	l.s.Kill()
	l.ended()
	return l.recover(ctx, f, running)
}

// killStarts kills the process, and its next few starts before they are ready.
func (l *loop) killStarts(ctx context.Context) error {
	running, err := l.running(ctx)
	if err != nil {
		return err
	}
	f := l.fault("kill -9 standalone while it starts")
	l.s.Kill()
	l.ended()
	for range 1 + l.rand.IntN(3) {
		old, began := l.s.PID(), l.rec.Now()
		started := make(chan error, 1)
		go func() { started <- l.s.Restart(ctx) }()
		for l.s.PID() == old && ctx.Err() == nil {
			_ = sleep(ctx, time.Millisecond) // the loop looks at ctx
		}
		ended := l.rec.Life("standalone", "standalone", l.s.PID(), began)
		err := sleep(ctx, l.within(0, 500*time.Millisecond))
		if gone := l.s.Signal(syscall.SIGKILL); gone != nil && err == nil {
			err = gone
		}
		<-l.s.Done()
		<-started // that it failed is what was wanted
		ended()
		if err != nil {
			return err
		}
	}
	return l.recover(ctx, f, running)
}

// fault is what the checker is told of a kill at this moment.
func (l *loop) fault(kind string) history.Fault {
	return history.Fault{Kind: kind, Targets: []string{"standalone"}, Injected: l.rec.Now(), Workers: []string{"standalone"},
		Parts: []string{history.PartAPI, history.PartScheduler, history.PartDatabase, history.PartRedis, history.PartNSQ}}
}

// recover starts the process again and waits until every task that ran when it was killed is final. The time counts from the start.
func (l *loop) recover(ctx context.Context, f history.Fault, running []int64) error {
	start, cancel := context.WithTimeout(ctx, startsWithin)
	defer cancel()
	f.Ended = l.rec.Now()
	if err := l.s.Restart(start); err != nil {
		return err
	}
	l.ended = l.rec.Life("standalone", "standalone", l.s.PID(), f.Ended)
	deadline := l.rec.Now() + recoversWithin
	for {
		left, err := l.open(ctx, running)
		if err != nil {
			return err
		}
		if left == 0 {
			f.Recovered = l.rec.Now() - f.Ended
			l.rec.Fault(Group, f)
			return nil
		}
		if l.rec.Now() > deadline {
			return fmt.Errorf("%d tasks that ran when it was killed are not final %v after its start", left, recoversWithin)
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// running lists the tasks that run, as the database has it.
func (l *loop) running(ctx context.Context) ([]int64, error) {
	return l.tasks(ctx, "SELECT id FROM tasks WHERE state=3")
}

// open counts those of some tasks that are not final.
func (l *loop) open(ctx context.Context, tasks []int64) (int, error) {
	list := make([]string, len(tasks))
	for i, id := range tasks {
		list[i] = strconv.FormatInt(id, 10)
	}
	left, err := l.tasks(ctx, "SELECT id FROM tasks WHERE id IN ("+strings.Join(list, ",")+") AND state IN (1,2,3)")
	return len(left), err
}

// tasks reads the ids of tasks. No connection stays open: one that did would keep alive what the next start has to recover.
func (l *loop) tasks(ctx context.Context, query string) (ids []int64, err error) {
	file := url.URL{Scheme: "file", Path: l.database(), RawQuery: "mode=ro&_pragma=busy_timeout(10000)"}
	db, err := sql.Open("sqlite", file.String())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, query)
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
	return ids, rows.Err()
}
