package faults

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/taskweir/taskweir/test/faults/cluster"
	"github.com/taskweir/taskweir/test/faults/network"
)

// trouble is what is done to a link.
type trouble struct {
	name  string
	begin func(context.Context, *network.Link, Injection) error
	fill  func(*Drawing, *Injection)
}

var troubles = []trouble{
	{"latency", func(ctx context.Context, l *network.Link, i Injection) error { return l.Delay(ctx, i.By) }, func(d *Drawing, i *Injection) {
		i.By, i.For = between(d.Rand, 20*time.Millisecond, 800*time.Millisecond), between(d.Rand, time.Second, 4*time.Second)
	}},
	{"cut", func(ctx context.Context, l *network.Link, _ Injection) error { return l.Cut(ctx) }, func(d *Drawing, i *Injection) {
		i.For = d.away()
	}},
	{"half-open", func(ctx context.Context, l *network.Link, i Injection) error { return l.Silence(ctx, i.Way) }, func(d *Drawing, i *Injection) {
		i.For, i.Way = d.away(), network.Directions()[d.Rand.IntN(3)]
	}},
	{"slow close", func(ctx context.Context, l *network.Link, i Injection) error { return l.SlowClose(ctx, i.By) }, func(d *Drawing, i *Injection) {
		i.By, i.For = between(d.Rand, time.Second/2, 3*time.Second), between(d.Rand, time.Second, 4*time.Second)
	}},
}

// away is a moment, seconds, or longer than the lease.
func (d *Drawing) away() time.Duration {
	switch d.Rand.IntN(3) {
	case 0:
		return between(d.Rand, 0, 200*time.Millisecond)
	case 1:
		return between(d.Rand, time.Second, 3*time.Second)
	default:
		return d.Pace.beyondLease(d.Rand)
	}
}

// links are the kinds that hurt what is between two processes, one for each trouble and each pair of roles.
func links(shape cluster.Shape) (kinds []Kind) {
	for _, t := range troubles {
		seen := map[string]bool{}
		for _, p := range shape.Links {
			pair := string(p.FromRole) + network.Arrow + string(p.ToRole)
			if seen[pair] {
				continue
			}
			seen[pair] = true
			kinds = append(kinds, Kind{Name: t.name + " " + pair, Group: "network: " + t.name, draw: func(d *Drawing) (Injection, bool) {
				return d.link(t, p.FromRole, p.ToRole)
			}, act: t.act})
		}
	}
	return kinds
}

// link draws the next link of its pair of roles, and in one of four cases all of them at once, as a broken switch would.
func (d *Drawing) link(t trouble, from, to cluster.Role) (Injection, bool) {
	var names []string
	for _, p := range d.Shape.Links {
		if p.FromRole == from && p.ToRole == to {
			names = append(names, p.From+network.Arrow+p.To)
		}
	}
	i := Injection{Targets: names}
	if d.Rand.IntN(4) > 0 {
		kind := t.name + " " + string(from) + network.Arrow + string(to)
		i.Targets = []string{names[d.Uses[kind]%len(names)]}
	}
	for _, n := range i.Targets {
		if d.Taken[n] {
			return Injection{}, false
		}
	}
	t.fill(d, &i)
	return i, true
}

// act hurts the links and heals them. Each counts as a fault of its own.
func (t trouble) act(ctx context.Context, a *act) error {
	var hurt []*network.Link
	for _, name := range a.Injection.Targets {
		l := a.c.Net.Find(name)
		if l == nil {
			return fmt.Errorf("%s: %w", name, errNoTarget)
		}
		hurt = append(hurt, l)
		a.crosses(l)
		if t.name == "latency" && l.To == "mariadb" {
			a.Fault.Skew = max(a.Fault.Skew, a.Injection.By) // what takes longer one way than the other moves the clocks that are read over it
		}
	}
	a.Times = len(hurt)
	var failed error
	for _, l := range hurt {
		failed = errors.Join(failed, t.begin(ctx, l, a.Injection))
	}
	sleep(ctx, a.Injection.For)
	for _, l := range hurt {
		failed = errors.Join(failed, l.Heal(context.WithoutCancel(ctx)))
	}
	return failed
}

// crosses notes what hurting a link can do to the history: a worker that does not reach the database may act late, as may one
// whose calls reach the sink late. It is the trouble of the process of ours at its beginning: a server that one process does not
// reach is there for all others.
func (a *act) crosses(l *network.Link) {
	from := a.c.Unit(l.From)
	ours := from != nil && from.Role.Ours()
	for _, u := range a.c.Units() {
		switch {
		case u.Name == l.To && !ours:
			a.part(u.Role)
		case u.Name == l.From && u.Role == cluster.Worker:
			a.Fault.Workers = append(a.Fault.Workers, u.Name)
			a.Fault.Late = a.Fault.Late || l.To == "mariadb" || l.To == "sink"
		case u.Name == l.From:
			a.part(u.Role)
		}
	}
	if l.To == "mariadb" {
		a.Fault.Skew = max(a.Fault.Skew, crowd)
	}
}
