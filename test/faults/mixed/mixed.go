package mixed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/test/faults/history"
	"github.com/taskweir/taskweir/test/faults/load"
	"github.com/taskweir/taskweir/test/faults/record"
	"github.com/taskweir/taskweir/test/faults/run"
	"github.com/taskweir/taskweir/test/faults/small"
)

// Group is the line of the README that these faults are counted in.
const Group = "two versions"

// Options say what is run.
type Options struct {
	Programs testkit.Programs // of today; required; with or without the tag faults
	Previous testkit.Programs // of before; its zero value: built from the repository's history
	Seed     uint64
	Replaced int       // how many processes are replaced while the builds are mixed; 0: 12
	Rate     float64   // tasks a second; 0: 60
	Evidence string    // where logs and history go when something is wrong; empty: nowhere
	Log      io.Writer // required
}

const (
	settlesWithin = 2 * time.Minute
	// between is how long a mixture is looked at before the next process is replaced.
	between = 2 * time.Second
)

// member is a process and which build it is of.
type member struct {
	*small.Unit
	role string
	old  bool
	past []stint
}

// stint is how long a member was of one build.
type stint struct {
	until time.Duration
	old   bool
}

// wasOld reports whether the member was of the previous build at a time.
func (m *member) wasOld(at time.Duration) bool {
	for _, s := range m.past {
		if at < s.until {
			return s.old
		}
	}
	return m.old
}

// upgrade is one run.
type upgrade struct {
	Options
	rec     *record.Recorder
	rand    *rand.Rand
	members []*member
}

// Run starts a cluster of both builds, replaces process after process under load, and checks the whole history. An error means
// that there was no run, as ErrNoHistory does; what went wrong in one stands in the outcome.
func Run(ctx context.Context, o Options) (out *run.Outcome, err error) {
	if o.Replaced == 0 {
		o.Replaced = 12
	}
	if o.Rate == 0 {
		o.Rate = 60
	}
	if o.Previous.Dir == "" {
		commit, migration, err := Previous(ctx)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(o.Log, "mixed builds %.12s, the last commit before %s\n", commit, migration)
		dir, err := testkit.TempDir()
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir) //nolint:errcheck // the next run removes it
		if o.Previous, err = BuildPrevious(ctx, commit, filepath.Join(dir, "previous")); err != nil {
			return nil, err
		}
	}
	u := &upgrade{Options: o, rec: record.New("mixed", o.Log), rand: rand.New(rand.NewPCG(o.Seed, 0xed))}
	c, err := small.Start(ctx, small.Options{Recorder: u.rec, Migrate: o.Programs, NSQDs: 2, Env: []string{"TASKWEIR_DRAIN_TIME=5s"}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := u.start(ctx, c); err != nil {
		return nil, err
	}
	clients, err := load.Start(ctx, load.Options{NoLimitKey: true, APIs: c.APIs(), Key: c.Keys.Bootstrap, Database: c.DatabaseURL(), Seed: o.Seed, Rate: o.Rate, Fence: true, Began: u.rec.Began})
	if err != nil {
		return nil, err
	}
	failed := u.replace(ctx)
	h, stopped := clients.Stop(ctx, settlesWithin)
	for _, s := range c.Surprises() {
		u.rec.Broken("%s", s)
	}
	u.witness(h)
	return u.rec.Finish(h, errors.Join(failed, stopped), c.Logs(), o.Evidence), nil
}

// start starts one process of each build and role. The first API is a new one: the load sets its queues up there.
func (u *upgrade) start(ctx context.Context, c *small.Cluster) error {
	for _, role := range []string{"api", "scheduler", "worker"} {
		for n, old := range []bool{false, true} {
			unit, err := c.Add(ctx, fmt.Sprintf("%s%d", role, n+1), role, u.programs(old))
			if err != nil {
				return err
			}
			u.members = append(u.members, &member{Unit: unit, role: role, old: old})
		}
	}
	return nil
}

func (u *upgrade) programs(old bool) testkit.Programs {
	if old {
		return u.Previous
	}
	return u.Programs
}

// replace exchanges the build of processes, one at a time, and in the end makes all of them new.
func (u *upgrade) replace(ctx context.Context) error {
	for range u.Replaced {
		if err := u.exchange(ctx, u.members[u.rand.IntN(len(u.members))]); err != nil {
			return err
		}
	}
	for _, m := range u.members {
		if !m.old {
			continue
		}
		if err := u.exchange(ctx, m); err != nil {
			return err
		}
	}
	return sleep(ctx, between)
}

func (u *upgrade) exchange(ctx context.Context, m *member) error {
	if err := sleep(ctx, between/2+time.Duration(u.rand.Int64N(int64(between)))); err != nil {
		return err
	}
	to := "the previous build"
	if m.old {
		to = "this build"
	}
	f := history.Fault{Kind: fmt.Sprintf("%s replaced by %s", m.role, to), Targets: []string{m.Name}, Injected: u.rec.Now()}
	switch m.role {
	case "api":
		f.Parts = []string{history.PartAPI}
	case "scheduler":
		f.Parts = []string{history.PartScheduler}
	case "worker":
		f.Workers = []string{m.Name}
	}
	start, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ended, err := m.Replace(start, u.programs(!m.old))
	if err != nil {
		return err
	}
	m.past = append(m.past, stint{ended, m.old})
	m.old = !m.old
	f.Ended = u.rec.Now()
	u.rec.Fault(Group, f)
	return nil
}

// witness completes what the audit trail says of explicit retries: the API that answered one may have been of a build that kept no
// trail yet. Its answer alone is believed then; what APIs of this build have answered must stand in the trail.
func (u *upgrade) witness(h *history.History) {
	if h == nil {
		return
	}
	kept, old := map[int64]int{}, map[int64]int{}
	for _, a := range h.End.Audit {
		kept[a.Task] += a.Retries
	}
	for i := range h.Ops {
		o := &h.Ops[i]
		switch {
		case o.Kind != history.OpRetry || !o.Done():
		case u.old(o.API, o.Answered):
			old[o.Task]++
		default:
			kept[o.Task]--
		}
	}
	for task, n := range old {
		if n -= max(kept[task], 0); n > 0 {
			h.End.Audit = append(h.End.Audit, history.Audited{Task: task, Retries: n})
		}
	}
}

// old reports whether an API was of the previous build at a time.
func (u *upgrade) old(api string, at time.Duration) bool {
	for _, m := range u.members {
		if m.URL() == api {
			return m.wasOld(at)
		}
	}
	return false
}

// sleep waits; its error is why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
