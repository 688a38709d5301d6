package faults

import (
	"context"
	"slices"
	"time"

	"github.com/taskweir/taskweir/test/faults/cluster"
	"github.com/taskweir/taskweir/test/faults/history"
)

// armedFor is how long a failpoint may wait for its moment. Where nothing passes by then, nothing is counted.
const armedFor = 4 * time.Second

// place is a failpoint of our own code, who passes it, and what can be done there.
type place struct {
	point, group string
	roles        []cluster.Role
	kill, stop   bool
	fails        []string
	delays       bool
}

var ourPlaces = []place{
	{point: "submit.committed", group: "after a submit's commit, before its ring", roles: []cluster.Role{cluster.API}, kill: true, stop: true, delays: true},
	{point: "ring.publish", group: "at a ring", roles: []cluster.Role{cluster.API, cluster.Scheduler, cluster.Worker}, kill: true, fails: []string{"lost_before", "lost_after"}, delays: true},
	{point: "submit.answer", group: "a submit's commit done, its answer lost", roles: []cluster.Role{cluster.API}, kill: true, fails: []string{"lost_after"}},
	{point: "claim.tx", group: "inside a claim's transaction", roles: []cluster.Role{cluster.Worker}, kill: true, stop: true, delays: true},
	{point: "claim.answer", group: "a claim's commit done, its answer lost", roles: []cluster.Role{cluster.Worker}, kill: true, fails: []string{"lost_after"}},
	{point: "claim.committed", group: "after a claim, before FIN", roles: []cluster.Role{cluster.Worker}, kill: true, stop: true, delays: true},
	{point: "claim.run", group: "after a claim, before the task runs", roles: []cluster.Role{cluster.Worker}, kill: true, stop: true, delays: true},
	{point: "run.effect", group: "after an effect, before its finish", roles: []cluster.Role{cluster.Worker}, kill: true, stop: true, delays: true},
	{point: "finish.answer", group: "a finish's commit done, its answer lost", roles: []cluster.Role{cluster.Worker}, kill: true, fails: []string{"lost_after"}},
	{point: "finish.committed", group: "after a finish, before anybody hears of it", roles: []cluster.Role{cluster.Worker}, kill: true, stop: true, delays: true},
}

// driverPlaces are where the database's driver fails.
var driverPlaces = []struct{ point, text string }{{"db.exec", "at a statement"}, {"db.commit", "at a COMMIT"}}

// driverErrors are how. The last comes when the statement, or the COMMIT, is done.
var driverErrors = []struct{ error, group string }{
	{"deadlock", "database error: deadlock"},
	{"lock_wait", "database error: lock wait timeout"},
	{"lost_before", "database error: connection lost before the statement"},
	{"lost_after", "database error: connection lost after the statement or COMMIT"},
}

// points are the kinds that act inside our own code and inside the driver.
func points() (kinds []Kind) {
	for _, p := range ourPlaces {
		if p.kill {
			kinds = append(kinds, p.once("SIGKILL", "kill", dies))
		}
		if p.stop {
			kinds = append(kinds, p.once("SIGSTOP", "stop", stops))
		}
		for _, e := range p.fails {
			kinds = append(kinds, p.often("fails, "+e, cluster.Rule{Action: "error", Error: e}))
		}
		if p.delays {
			kinds = append(kinds, p.often("late", cluster.Rule{Action: "delay"}))
		}
	}
	ours := []cluster.Role{cluster.API, cluster.Scheduler, cluster.Worker}
	for _, d := range driverPlaces {
		for _, e := range driverErrors {
			p := place{point: d.point, group: e.group, roles: ours}
			kinds = append(kinds, p.often(e.error, cluster.Rule{Action: "error", Error: e.error}))
		}
	}
	return kinds
}

// someone draws a process that passes the place.
func (p place) someone(d *Drawing) (string, bool) {
	var names []string
	for _, r := range p.roles {
		names = append(names, d.Shape.Named(r)...)
	}
	names = slices.DeleteFunc(d.free(names), func(n string) bool { return d.Taken[at(n, p.point)] })
	if len(names) == 0 {
		return "", false
	}
	return names[0], true
}

// once is a kind that ends or stops the process there.
func (p place) once(name, action string, do func(context.Context, *act, *cluster.Unit) error) Kind {
	return Kind{Name: p.point + " " + name, Group: p.group,
		draw: func(d *Drawing) (Injection, bool) {
			who, ok := p.someone(d)
			i := Injection{Targets: []string{who}, Point: p.point, Rule: &cluster.Rule{Action: action, Skip: d.Rand.Int64N(6), Times: 1}}
			if action == "stop" {
				i.For = frozenFor(d, cluster.Worker)
			}
			return i, ok
		},
		act: func(ctx context.Context, a *act) error { return a.armed(ctx, do) }}
}

// often is a cheap kind: the place fails, or is late, some dozens of times.
func (p place) often(name string, rule cluster.Rule) Kind {
	return Kind{Name: p.point + " " + name, Group: p.group, Weight: Cheap,
		draw: func(d *Drawing) (Injection, bool) {
			who, ok := p.someone(d)
			r := rule
			r.Times, r.Every, r.Skip = 5+d.Rand.Int64N(36), 1+d.Rand.Int64N(8), d.Rand.Int64N(10)
			if r.Action == "delay" {
				r.DelayMs = 5 + d.Rand.Int64N(300)
				r.Times = 5 + d.Rand.Int64N(10)
			}
			return Injection{Targets: []string{who}, Point: p.point, Rule: &r, For: armedFor}, ok
		},
		act: func(ctx context.Context, a *act) error { return a.armed(ctx, counts) }}
}

// armed sets the rule and lets do wait for what comes of it.
func (a *act) armed(ctx context.Context, do func(context.Context, *act, *cluster.Unit) error) error {
	units, err := a.units()
	if err != nil {
		return err
	}
	u := units[0]
	a.starts = u.Starts()
	before, err := u.Points(ctx)
	if err != nil {
		return err
	}
	a.acted = before[a.Injection.Point].Acted
	if err := u.SetPoint(ctx, a.Injection.Point, *a.Injection.Rule); err != nil {
		return err
	}
	return do(ctx, a, u)
}

// dies waits for the end of the process and until it is back.
func dies(ctx context.Context, a *act, u *cluster.Unit) error {
	defer u.Excuse()()
	within, cancel := context.WithTimeout(ctx, armedFor)
	defer cancel()
	if u.Restarted(within, a.starts) != nil && u.Starts() == a.starts && u.Running() {
		return a.missed(ctx, u)
	}
	a.Times = 1
	a.touches(u, false)
	a.runs(ctx) // what it ran is still its own
	if a.From = a.Began; len(u.Lives()) > a.starts {
		a.From = u.Lives()[a.starts-1].Ended
	}
	return a.ready(ctx, []*cluster.Unit{u})
}

// stops waits until the process has stopped itself, and lets it go on later.
func stops(ctx context.Context, a *act, u *cluster.Unit) error {
	for end := a.now() + armedFor; !u.Frozen(); sleep(ctx, 10*time.Millisecond) {
		if a.now() > end || ctx.Err() != nil {
			return a.missed(ctx, u)
		}
	}
	a.Times = 1
	a.touches(u, true)
	a.From = a.now()
	a.runs(ctx)
	sleep(ctx, a.Injection.For)
	return u.Thaw()
}

// missed takes a rule back that had no opportunity. It may have come at the last moment: then it counts after all.
func (a *act) missed(ctx context.Context, u *cluster.Unit) error {
	err := u.ClearPoint(ctx, a.Injection.Point)
	if err == nil {
		return nil
	}
	if !u.Frozen() && u.Running() && u.Starts() == a.starts {
		return err
	}
	a.Times = 1
	a.touches(u, true)
	if err := u.Thaw(); err != nil {
		return err
	}
	return a.ready(ctx, []*cluster.Unit{u})
}

// counts waits until the rule has acted as often as it may, or its time is over, and counts.
func counts(ctx context.Context, a *act, u *cluster.Unit) error {
	point := a.Injection.Point
	for end := a.now() + a.Injection.For; a.now() < end && ctx.Err() == nil; {
		sleep(ctx, 100*time.Millisecond)
		after, err := u.Points(ctx)
		if err != nil || u.Starts() != a.starts { // somebody else has killed it: what it counted is gone
			break
		}
		a.Times = max(0, int(after[point].Acted-a.acted))
		if int64(a.Times) >= a.Injection.Rule.Times {
			break
		}
	}
	if a.Times > 0 {
		a.touches(u, a.Injection.Rule.Action == "delay")
		a.Fault.Parts = append(a.Fault.Parts, partOf(point)...)
	}
	if u.Starts() != a.starts || !u.Running() {
		return nil
	}
	return u.ClearPoint(ctx, point)
}

// partOf is what a failpoint touches beside the process. A driver that fails is the trouble of its own process: nobody else's statements
// fail for it.
func partOf(point string) []string {
	switch point {
	case "ring.publish", "submit.committed":
		return []string{history.PartNSQ}
	}
	return nil
}
