package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/taskweir/taskweir/test/faults/cluster"
	"github.com/taskweir/taskweir/test/faults/history"
	"github.com/taskweir/taskweir/test/faults/network"
)

// groupAway: nobody may be declared dead for it.
const groupAway = "database away for longer than the lease"

// aways are the ways in which the database is away from everybody for longer than the death watch, while every process lives. Not
// one worker may be declared dead, and no task may be lost by it. They are done alone: any other fault may be the death of a worker.
func aways() []Kind {
	way := func(name string, leave, back func(context.Context, *act, *cluster.Unit) error) Kind {
		return Kind{Name: "database away: " + name, Group: groupAway, Weight: Alone,
			draw: func(d *Drawing) (Injection, bool) {
				return Injection{Targets: []string{"mariadb"}, For: d.Pace.beyondLease(d.Rand) + time.Second}, true
			},
			act: func(ctx context.Context, a *act) error { return a.away(ctx, leave, back) }}
	}
	return []Kind{
		way("stopped", func(ctx context.Context, _ *act, db *cluster.Unit) error { return db.Down(ctx, syscall.SIGTERM) }, backUp),
		way("killed", func(ctx context.Context, _ *act, db *cluster.Unit) error { return db.Down(ctx, syscall.SIGKILL) }, backUp),
		way("frozen", func(_ context.Context, _ *act, db *cluster.Unit) error { return db.Freeze() },
			func(_ context.Context, _ *act, db *cluster.Unit) error { return db.Thaw() }),
		way("cut off", everyLink((*network.Link).Cut), everyLink((*network.Link).Heal)),
		way("half-open", everyLink(func(l *network.Link, ctx context.Context) error { return l.Silence(ctx, network.Both) }), everyLink((*network.Link).Heal)),
	}
}

func backUp(ctx context.Context, a *act, db *cluster.Unit) error {
	db.Up()
	return a.ready(ctx, []*cluster.Unit{db})
}

// everyLink does something to every link to the database.
func everyLink(do func(*network.Link, context.Context) error) func(context.Context, *act, *cluster.Unit) error {
	return func(ctx context.Context, a *act, db *cluster.Unit) error {
		var failed error
		for _, l := range a.c.Net.Links() {
			if l.To == db.Name {
				failed = errors.Join(failed, do(l, ctx))
			}
		}
		return failed
	}
}

// away takes the database away and has it looked afterwards whether anybody was declared dead for it.
func (a *act) away(ctx context.Context, leave, back func(context.Context, *act, *cluster.Unit) error) error {
	units, err := a.units()
	if err != nil {
		return err
	}
	before, err := a.alive(ctx)
	if err != nil {
		return err
	}
	a.Times = 1
	a.touches(units[0], true)
	if err := leave(ctx, a, units[0]); err != nil {
		return err
	}
	sleep(ctx, a.Injection.For)
	if err := back(ctx, a, units[0]); err != nil {
		return err
	}
	a.Ended = a.now()
	a.Check = func(ctx context.Context) []string { return a.nobodyDied(ctx, before) }
	return nil
}

// alive lists the workers that run and are registered.
func (a *act) alive(ctx context.Context) (map[int64]string, error) {
	all, err := a.c.Workers(ctx)
	if err != nil {
		return nil, err
	}
	out := map[int64]string{}
	for _, w := range all {
		for _, u := range a.c.Units() {
			if !w.Gone && u.Role == cluster.Worker && u.PID() == w.PID {
				out[w.ID] = u.Name
			}
		}
	}
	return out, nil
}

// nobodyDied waits until a wrong declaration would have been made, and looks for it.
func (a *act) nobodyDied(ctx context.Context, before map[int64]string) []string {
	if wait := a.Ended + a.pace.DeadAfter + a.pace.Beat + time.Second - a.now(); wait > 0 {
		sleep(ctx, wait)
	}
	after, err := a.c.Workers(ctx)
	if err != nil {
		return []string{fmt.Sprintf("cannot see who was declared dead: %v", err)}
	}
	var dead []string
	for _, w := range after {
		if name, was := before[w.ID]; was && w.Gone {
			dead = append(dead, fmt.Sprintf("%s (%d)", name, w.ID))
		}
	}
	if len(before) == 0 {
		return []string{"no worker was alive before the database went away"}
	}
	if len(dead) > 0 {
		return []string{fmt.Sprintf("the database was away (%s), and was taken for the death of %s", a.Injection.Kind, strings.Join(dead, ", "))}
	}
	return nil
}

// ClockRead is how often a process reads the database's clock, and a bit: a jump that is over before nobody has seen.
const ClockRead = 5500 * time.Millisecond

// clocks are the kinds that let processes read another time from the database's clock than it shows.
func clocks() []Kind {
	jump := func(name, group string, who func(*Drawing) []string) Kind {
		return Kind{Name: name, Group: group, act: jumps, draw: func(d *Drawing) (Injection, bool) {
			names := who(d)
			by := time.Hour
			if d.Rand.IntN(2) == 0 {
				by = -by
			}
			return Injection{Targets: names, Point: "clock", By: by, For: between(d.Rand, ClockRead, 2*ClockRead)}, len(names) > 0
		}}
	}
	ours := func(d *Drawing) (all []string) {
		for _, u := range d.Shape.Units {
			if u.Role.Ours() {
				all = append(all, u.Name)
			}
		}
		return all
	}
	return []Kind{
		jump("clock jump of one", "clock jump of ±1 h", func(d *Drawing) []string {
			free := d.free(ours(d))
			return free[:min(1, len(free))]
		}),
		jump("clock jump of all", "clock jump of ±1 h, everywhere at once", func(d *Drawing) []string {
			if free := d.free(ours(d)); len(free) == len(ours(d)) {
				return free
			}
			return nil
		}),
	}
}

// jumps moves clocks and moves them back.
func jumps(ctx context.Context, a *act) error {
	units, err := a.units()
	if err != nil {
		return err
	}
	a.Times = len(units)
	a.Fault.Skew = max(a.Injection.By, -a.Injection.By)
	a.Fault.Parts = append(a.Fault.Parts, history.PartClock)
	var failed error
	for _, u := range units {
		a.touches(u, false)
		failed = errors.Join(failed, u.SetPoint(ctx, a.Injection.Point, cluster.Rule{Action: "offset", DelayMs: a.Injection.By.Milliseconds()}))
	}
	sleep(ctx, a.Injection.For)
	for _, u := range units {
		failed = errors.Join(failed, u.ClearPoint(ctx, a.Injection.Point))
	}
	// It is over when everybody has read the right time. What ran meanwhile may have been given a retry that is due in an hour: the end of
	// the run sees to those (Ahead), the recovery is the probe's.
	sleep(ctx, ClockRead)
	a.Running = nil
	return failed
}
