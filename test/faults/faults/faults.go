package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/taskweir/taskweir/test/faults/cluster"
	"github.com/taskweir/taskweir/test/faults/history"
	"github.com/taskweir/taskweir/test/faults/network"
)

// Pace is how patient the cluster's processes are.
type Pace struct {
	Name      string
	Beat      time.Duration // liveness.beat
	DeadAfter time.Duration // liveness.dead_after
}

// The paces. At the defaults a worker is missed for about 14 s; in most of a run that would be waiting.
var (
	Default = Pace{"default", 3 * time.Second, 12 * time.Second}
	Fast    = Pace{"fast", 500 * time.Millisecond, 3 * time.Second}
)

// Env is the pace as configuration.
func (p Pace) Env() []string {
	return []string{"TASKWEIR_LIVENESS_BEAT=" + p.Beat.String(), "TASKWEIR_LIVENESS_DEAD_AFTER=" + p.DeadAfter.String()}
}

// beyondLease is how long something must be away to be missed: a quarter to three quarters longer than the death watch.
func (p Pace) beyondLease(r *rand.Rand) time.Duration {
	return p.DeadAfter + time.Second/2 + between(r, p.DeadAfter/4, p.DeadAfter/2)
}

// Weight says how a kind may be combined.
type Weight int

// The weights.
const (
	Heavy Weight = iota
	Cheap
	Alone
)

// Kind is one kind of fault.
type Kind struct {
	Name   string // a line of docs/faults.md: "SIGKILL worker"
	Group  string // a line of the README: "SIGKILL"
	Weight Weight

	draw func(d *Drawing) (Injection, bool)
	act  func(ctx context.Context, a *act) error
}

// Injection is one fault of a plan. Durations count from the beginning of its round, or from when it struck.
type Injection struct {
	Kind    string
	Targets []string          // units, or links
	At      time.Duration     // strikes then
	For     time.Duration     `json:",omitempty"` // is taken back after this
	By      time.Duration     `json:",omitempty"` // latency, delay of a close, offset of a clock
	Way     network.Direction `json:",omitempty"` // of a silent link
	Point   string            `json:",omitempty"` // failpoint
	Rule    *cluster.Rule     `json:",omitempty"` // of it
}

// String is a line of a printed plan.
func (i Injection) String() string {
	s := fmt.Sprintf("+%-6v %-32s %s", i.At.Round(time.Millisecond), i.Kind, strings.Join(i.Targets, ", "))
	if i.For > 0 {
		s += fmt.Sprintf(", for %v", i.For.Round(time.Millisecond))
	}
	if i.By != 0 {
		s += fmt.Sprintf(", by %v", i.By.Round(time.Millisecond))
	}
	if i.Way != "" {
		s += ", way " + string(i.Way)
	}
	if i.Rule != nil {
		s += fmt.Sprintf(", %s: %s", i.Point, i.Rule)
	}
	return s
}

// Drawing is what injections of one round are drawn from.
type Drawing struct {
	Rand  *rand.Rand
	Shape cluster.Shape
	Pace  Pace
	Uses  map[string]int  // how often a kind was drawn: links take turns, so that all are hurt
	Taken map[string]bool // units, links and failpoints of a unit that are hurt in this round already
}

// Draw makes one injection, or reports that everything it could be done to is taken in this round.
func (k Kind) Draw(d *Drawing) (Injection, bool) {
	i, ok := k.draw(d)
	if !ok {
		return Injection{}, false
	}
	i.Kind = k.Name
	d.Uses[k.Name]++
	for _, t := range i.Targets {
		if k.Weight == Cheap {
			t = at(t, i.Point)
		}
		d.Taken[t] = true
	}
	return i, true
}

// at is a failpoint of a unit: the cheap faults of a round share processes, since each fails at a place of its own.
func at(unit, point string) string { return unit + " " + point }

// free lists the names that are not taken, in random order.
func (d *Drawing) free(names []string) (out []string) {
	for _, n := range names {
		if !d.Taken[n] {
			out = append(out, n)
		}
	}
	d.Rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// between draws from [from, to).
func between(r *rand.Rand, from, to time.Duration) time.Duration {
	return (from + time.Duration(r.Int64N(int64(to-from)))).Round(time.Millisecond)
}

// Result is what became of an injection.
type Result struct {
	Injection Injection
	Group     string
	Times     int                            // how often it acted; 0: it had no opportunity, and does not count
	Began     time.Duration                  // it struck
	Ended     time.Duration                  // it was taken back
	From      time.Duration                  // recovery counts from here
	InFlight  int                            // tasks that ran when it struck
	Running   []cluster.Run                  // these
	Starts    []Start                        // of the processes that it had ended
	Recovered time.Duration                  // 0: not measured
	Broken    []string                       // what it found that must not be
	Fault     history.Fault                  // what the checker is told of it
	Err       error                          // the harness could not do it
	Check     func(context.Context) []string `json:"-"` // what is to be looked at when all is well again; may be nil
}

// Start is how long a process took from when it was let start until it was ready.
type Start struct {
	Unit string
	Took time.Duration
}

// act is an injection under way.
type act struct {
	*Result
	c    *cluster.Cluster
	pace Pace
	now  func() time.Duration

	acted  int64 // how often its failpoint had acted before
	starts int   // how often the process that has it had been started
}

// Do does an injection and takes it back. It returns when the cluster is whole again, though not yet well.
func (k Kind) Do(ctx context.Context, c *cluster.Cluster, p Pace, now func() time.Duration, i Injection) *Result {
	r := &Result{Injection: i, Group: k.Group}
	sleep(ctx, i.At)
	defer c.Hurt()()
	a := &act{Result: r, c: c, pace: p, now: now}
	a.runs(ctx)
	r.Began = now()
	r.Fault = history.Fault{Kind: k.Name, Targets: i.Targets, Injected: r.Began}
	err := k.act(ctx, a)
	if r.Ended == 0 {
		r.Ended = now()
	}
	if r.From == 0 {
		r.From = r.Ended
	}
	r.Fault.Ended = r.Ended
	if err != nil {
		r.Err = fmt.Errorf("%s (%s): %w", i.Kind, strings.Join(i.Targets, ", "), err)
	}
	return r
}

// runs notes what runs now; nothing when the database is away already.
func (a *act) runs(ctx context.Context) {
	a.Running, _ = a.c.Running(ctx) // see above
	a.InFlight = len(a.Running)
}

var errNoTarget = errors.New("no such unit or link")

// units gives the targets, which are units.
func (a *act) units() ([]*cluster.Unit, error) {
	var out []*cluster.Unit
	for _, name := range a.Injection.Targets {
		u := a.c.Unit(name)
		if u == nil {
			return nil, fmt.Errorf("%s: %w", name, errNoTarget)
		}
		out = append(out, u)
	}
	return out, nil
}

// touches notes what losing a unit can do to the history.
func (a *act) touches(u *cluster.Unit, late bool) {
	switch u.Role {
	case cluster.Worker:
		a.Fault.Workers = append(a.Fault.Workers, u.Name)
		a.Fault.Late = a.Fault.Late || late
	case cluster.MariaDB:
		a.Fault.Workers = append(a.Fault.Workers, cluster.Standard().Named(cluster.Worker)...)
		a.Fault.Late = true // cut off while it went on
		a.Fault.Skew = max(a.Fault.Skew, crowd)
	}
	a.part(u.Role)
}

// crowd is how far off a process may read the database's clock when everybody comes back to it at once: half of a slow round trip.
const crowd = 100 * time.Millisecond

func (a *act) part(r cluster.Role) {
	part := map[cluster.Role]string{cluster.API: history.PartAPI, cluster.Scheduler: history.PartScheduler, cluster.MariaDB: history.PartDatabase,
		cluster.Redis: history.PartRedis, cluster.NSQD: history.PartNSQ, cluster.NSQLookupd: history.PartNSQ, cluster.Sink: history.PartSink}[r]
	if part != "" {
		a.Fault.Parts = append(a.Fault.Parts, part)
	}
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
