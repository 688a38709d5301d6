package diskfull

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/test/faults/history"
	"github.com/taskweir/taskweir/test/faults/load"
	"github.com/taskweir/taskweir/test/faults/record"
	"github.com/taskweir/taskweir/test/faults/run"
	"github.com/taskweir/taskweir/test/faults/small"
)

// Group is the line of the README that these faults are counted in.
const Group = "disk full"

// Options say what is run.
type Options struct {
	Programs testkit.Programs // required; with or without the tag faults
	Seed     uint64
	Rounds   int       // how often each disk is filled; 0: 3
	Rate     float64   // tasks a second; 0: 40
	Evidence string    // where logs and history go when something is wrong; empty: nowhere
	Log      io.Writer // required
}

const (
	recoversWithin = 60 * time.Second
	settlesWithin  = 2 * time.Minute
	noticedWithin  = 90 * time.Second // that there is no room
)

// Run fills the disk under a standalone's SQLite, then the one under a cluster's nsqd. An error means that there was no run, as
// ErrNoMount does; what went wrong in one stands in its outcome.
func Run(ctx context.Context, o Options) ([]*run.Outcome, error) {
	if o.Rounds == 0 {
		o.Rounds = 3
	}
	if o.Rate == 0 {
		o.Rate = 40
	}
	lite, err := underSQLite(ctx, o)
	if err != nil {
		return nil, err
	}
	nsqd, err := underNSQD(ctx, o)
	return []*run.Outcome{lite, nsqd}, err
}

// filler is one run: a disk, what stands on it, and who sees it.
type filler struct {
	Options
	rec   *record.Recorder
	rand  *rand.Rand
	disk  *disk
	probe *probe
	fault history.Fault // as the checker is told
	// full does what is to be seen while there is no room, and notes what must not be.
	full func(ctx context.Context) error
	log  string // of nsqd
}

// rounds fills the disk and empties it again, as often as it is told.
func (f *filler) rounds(ctx context.Context) error {
	for range f.Rounds {
		if err := sleep(ctx, time.Second+time.Duration(f.rand.Int64N(int64(2*time.Second)))); err != nil {
			return err
		}
		fault := f.fault
		fault.Injected = f.rec.Now()
		if err := f.disk.fill(); err != nil {
			return err
		}
		noticed, cancel := context.WithTimeoutCause(ctx, noticedWithin, errors.New("nobody noticed that the disk is full"))
		err := f.full(noticed)
		cancel()
		if err := errors.Join(err, f.disk.empty()); err != nil {
			return err
		}
		fault.Ended = f.rec.Now()
		if err := f.goesOn(ctx); err != nil {
			return err
		}
		fault.Recovered = f.rec.Now() - fault.Ended
		f.rec.Fault(Group, fault)
	}
	return nil
}

// goesOn waits until submits are taken again, and until every task of the probe has succeeded.
func (f *filler) goesOn(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, recoversWithin, fmt.Errorf("it did not go on within %v", recoversWithin))
	defer cancel()
	for {
		ok, err := f.probe.submit(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			f.rec.Broken("with room again: %v", err)
		}
		if ok {
			return f.probe.succeeded(ctx)
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// underSQLite runs a standalone whose whole data folder is on a small disk.
func underSQLite(ctx context.Context, o Options) (out *run.Outcome, err error) {
	dir, err := testkit.TempDir()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	f := &filler{Options: o, rec: record.New("diskfull-sqlite", o.Log), rand: rand.New(rand.NewPCG(o.Seed, 0xd1))}
	if f.disk, err = mount(filepath.Join(dir, "data"), 64<<20); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.disk.unmount()) }()
	s, err := testkit.StartStandalone(ctx, testkit.StandaloneOptions{Programs: o.Programs, Dir: dir})
	if err != nil {
		return nil, err
	}
	defer s.Kill()
	f.rec.Life("standalone", "standalone", s.PID(), 0)
	clients, err := load.Start(ctx, load.Options{APIs: []string{s.BaseURL}, Key: s.Key, Database: "sqlite://" + filepath.Join(s.Data, "taskweir.db"),
		Seed: o.Seed, Rate: o.Rate, Fence: true, Began: f.rec.Began})
	if err != nil {
		return nil, err
	}
	f.probe = &probe{api: s.BaseURL, key: s.Key, large: true, codes: map[string]int{}}
	f.fault = history.Fault{Kind: "disk full under SQLite", Targets: []string{"standalone"}, Workers: []string{"standalone"},
		Parts: []string{history.PartDisk, history.PartDatabase, history.PartAPI, history.PartScheduler, history.PartNSQ}}
	f.full = f.refused
	failed := f.rounds(ctx)
	h, stopped := clients.Stop(ctx, settlesWithin)
	unclear(f.rec, h)
	if !s.Running() {
		f.rec.Broken("the standalone ended by itself\n%s", s.Tail(2000))
	}
	fmt.Fprintf(o.Log, "diskfull-sqlite refused submits: %v\n", f.probe.codes)
	return f.rec.Finish(h, errors.Join(failed, stopped), []string{filepath.Join(dir, "standalone.log")}, o.Evidence), nil
}

// refusals is how many submits in a row must be refused: then it is not by chance.
const refusals = 20

// refused submits until SQLite has used up what room its files still had in themselves, and goes on for a while.
func (f *filler) refused(ctx context.Context) error {
	for row := 0; row < refusals; {
		ok, err := f.probe.submit(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			f.rec.Broken("with a full disk: %v", err)
			row++
		case ok:
			row = 0
		default:
			row++
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return sleep(ctx, time.Duration(f.rand.Int64N(int64(4*time.Second))))
}

// underNSQD runs a cluster whose one nsqd keeps nothing in memory and has a small disk.
func underNSQD(ctx context.Context, o Options) (out *run.Outcome, err error) {
	f := &filler{Options: o, rec: record.New("diskfull-nsqd", o.Log), rand: rand.New(rand.NewPCG(o.Seed, 0xd2))}
	c, err := small.Start(ctx, small.Options{Recorder: f.rec, Migrate: o.Programs, NSQD: f.startNSQD})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for _, u := range [][2]string{{"api1", "api"}, {"scheduler1", "scheduler"}, {"worker1", "worker"}, {"worker2", "worker"}} {
		if _, err := c.Add(ctx, u[0], u[1], o.Programs); err != nil {
			return nil, err
		}
	}
	clients, err := load.Start(ctx, load.Options{APIs: c.APIs(), Key: c.Keys.Bootstrap, Database: c.DatabaseURL(), Seed: o.Seed, Rate: o.Rate, Fence: true, Began: f.rec.Began})
	if err != nil {
		return nil, err
	}
	f.probe = &probe{api: c.APIs()[0], key: c.Keys.Bootstrap, codes: map[string]int{}}
	f.fault = history.Fault{Kind: "disk full under nsqd", Targets: []string{"nsqd1"}, Parts: []string{history.PartDisk, history.PartNSQ}}
	f.full = f.taken
	failed := f.rounds(ctx)
	h, stopped := clients.Stop(ctx, settlesWithin)
	unclear(f.rec, h)
	for _, s := range c.Surprises() {
		f.rec.Broken("%s", s)
	}
	return f.rec.Finish(h, errors.Join(failed, stopped), c.Logs(), o.Evidence), nil
}

// startNSQD starts an nsqd on a small disk, which it writes every message to.
func (f *filler) startNSQD(ctx context.Context, dir string) (addr string, stop func(), err error) {
	tools, err := testkit.NSQTools(ctx)
	if err != nil {
		return "", nil, err
	}
	data := filepath.Join(dir, "nsqd-disk")
	if f.disk, err = mount(data, 8<<20); err != nil {
		return "", nil, err
	}
	var ports [2]int
	for i := range ports {
		if ports[i], err = testkit.FreePort(); err != nil {
			return "", nil, errors.Join(err, f.disk.unmount())
		}
	}
	addr, f.log = testkit.Loopback(ports[0]), filepath.Join(dir, "nsqd1.log")
	p, err := testkit.Start(ctx, testkit.Spec{Name: "nsqd1", Path: tools.NSQD, Log: f.log, Ready: testkit.Answers(testkit.Loopback(ports[1]), "/ping"),
		Args: []string{"-tcp-address", addr, "-http-address", testkit.Loopback(ports[1]), "-broadcast-address", "127.0.0.1", "-data-path", data,
			"-mem-queue-size", "0", "-max-bytes-per-file", "262144"}})
	if err != nil {
		return "", nil, errors.Join(err, f.disk.unmount())
	}
	return addr, func() {
		p.Kill()
		if err := f.disk.unmount(); err != nil {
			f.rec.Broken("%v", err)
		}
	}, nil
}

// taken submits for a while: nsqd is only the doorbell, so every submit must be taken although nothing can be rung.
func (f *filler) taken(ctx context.Context) error {
	before, err := f.complaints()
	if err != nil {
		return err
	}
	until := f.rec.Now() + 4*time.Second + time.Duration(f.rand.Int64N(int64(6*time.Second)))
	for f.rec.Now() < until {
		ok, err := f.probe.submit(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			f.rec.Broken("with a full disk under nsqd: %v", err)
		case !ok:
			f.rec.Broken("with a full disk under nsqd a submit was refused: %v", f.probe.codes)
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	after, err := f.complaints()
	if err == nil && after == before {
		err = errors.New("nsqd did not want to write anything: the disk was full for nothing")
	}
	return err
}

// complaints counts what nsqd's log says of having no room.
func (f *filler) complaints() (int, error) {
	raw, err := os.ReadFile(f.log)
	if err != nil {
		return 0, err
	}
	return bytes.Count(raw, []byte(syscall.ENOSPC.Error())), nil
}
