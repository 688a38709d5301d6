package faults

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/taskweir/taskweir/test/faults/cluster"
)

// comeBack is how long a process may take to be ready again.
const comeBack = 60 * time.Second

// Groups of the README.
const (
	groupKill    = "SIGKILL"
	groupFreeze  = "SIGSTOP, SIGCONT after longer than the lease"
	groupTerm    = "SIGTERM and start"
	groupSeveral = " of several processes at once"
)

// roles are all kinds of process.
var roles = []cluster.Role{cluster.API, cluster.Scheduler, cluster.Worker, cluster.MariaDB, cluster.Redis, cluster.NSQD, cluster.NSQLookupd}

// signals are the kinds that end or stop processes.
func signals() (kinds []Kind) {
	type way struct {
		name, group string
		hold        func(d *Drawing, r cluster.Role) time.Duration
		do          func(context.Context, *act) error
	}
	ways := []way{
		{"SIGKILL", groupKill, downFor, kill},
		{"SIGSTOP", groupFreeze, frozenFor, freeze},
		{"SIGTERM", groupTerm, downFor, terminate},
	}
	for _, w := range ways {
		for _, r := range roles {
			group := w.group
			if !r.Ours() && w.name != "SIGSTOP" {
				group = "restart of " + string(r)
				if r == cluster.NSQD && w.name == "SIGKILL" {
					group += ", its folder deleted"
				}
			}
			kinds = append(kinds, Kind{Name: w.name + " " + string(r), Group: group, act: w.do, draw: func(d *Drawing) (Injection, bool) {
				names := d.free(d.Shape.Named(r))
				if len(names) == 0 {
					return Injection{}, false
				}
				return Injection{Targets: names[:1], For: w.hold(d, r)}, true
			}})
		}
		kinds = append(kinds, Kind{Name: w.name + " several", Group: w.group + groupSeveral, act: w.do, draw: func(d *Drawing) (Injection, bool) {
			var all []string
			for _, u := range d.Shape.Units {
				all = append(all, u.Name)
			}
			all = d.free(all)
			n := 2 + d.Rand.IntN(4)
			if len(all) < n {
				return Injection{}, false
			}
			return Injection{Targets: all[:n], For: w.hold(d, cluster.Worker)}, true
		}})
	}
	return append(kinds, everything(), flush())
}

// everything kills all of Taskweir at once.
func everything() Kind {
	return Kind{Name: "SIGKILL all of Taskweir", Group: groupKill + groupSeveral, act: kill, draw: func(d *Drawing) (Injection, bool) {
		var all []string
		for _, u := range d.Shape.Units {
			if u.Role.Ours() {
				all = append(all, u.Name)
			}
		}
		return Injection{Targets: all, For: downFor(d, cluster.Worker)}, len(d.free(all)) == len(all)
	}}
}

// flush takes everything out of Redis while it runs.
func flush() Kind {
	return Kind{Name: "FLUSHALL Redis", Group: "FLUSHALL of Redis",
		draw: func(d *Drawing) (Injection, bool) {
			return Injection{Targets: []string{"redis"}}, !d.Taken["redis"]
		},
		act: func(ctx context.Context, a *act) error {
			a.part(cluster.Redis)
			a.Times = 1
			return a.c.FlushRedis(ctx)
		}}
}

func downFor(d *Drawing, r cluster.Role) time.Duration {
	if r.Ours() {
		return between(d.Rand, 0, time.Second)
	}
	return between(d.Rand, 200*time.Millisecond, 3*time.Second)
}

// schedulersLease is how long a scheduler owns lanes without renewing.
const schedulersLease = 5 * time.Second

func frozenFor(d *Drawing, r cluster.Role) time.Duration {
	switch r {
	case cluster.Worker, cluster.MariaDB:
		return d.Pace.beyondLease(d.Rand)
	case cluster.Scheduler:
		return schedulersLease + between(d.Rand, time.Second/2, 2*time.Second)
	}
	return between(d.Rand, time.Second, 5*time.Second)
}

// kill ends processes at once. What a broker had on its disk is gone too.
func kill(ctx context.Context, a *act) error {
	return a.down(ctx, func(u *cluster.Unit) error { return u.Lose(ctx) })
}

// terminate asks processes to end. That one does not end in the time that it promises is a finding.
func terminate(ctx context.Context, a *act) error {
	return a.down(ctx, func(u *cluster.Unit) error {
		err := u.Down(ctx, syscall.SIGTERM)
		if err != nil && u.Role.Ours() && ctx.Err() == nil {
			a.finds("%s after SIGTERM: %v", u.Name, err)
			return nil
		}
		return err
	})
}

// down ends all targets at once, holds them down, and lets them be started.
func (a *act) down(ctx context.Context, end func(*cluster.Unit) error) error {
	units, err := a.units()
	if err != nil {
		return err
	}
	a.Times = len(units)
	ours := true
	errs := make(chan error, len(units))
	for _, u := range units {
		a.touches(u, false)
		ours = ours && u.Role.Ours()
		go func() { errs <- end(u) }()
	}
	var failed error
	for range units {
		failed = errors.Join(failed, <-errs)
	}
	if ours {
		a.From = a.Began
	}
	sleep(ctx, a.Injection.For)
	for _, u := range units {
		u.Up()
	}
	return errors.Join(failed, a.ready(ctx, units))
}

// ready waits until processes are ready, and notes how long each took. A process that does not come back although its servers are there is a finding, but
// another fault may have taken them: then the harness says no more than that it waited in vain.
func (a *act) ready(ctx context.Context, units []*cluster.Unit) error {
	ctx, cancel := context.WithTimeout(ctx, comeBack)
	defer cancel()
	from := a.now()
	var mu sync.Mutex
	var failed error
	var wg sync.WaitGroup
	for _, u := range units {
		wg.Go(func() {
			err := u.Ready(ctx)
			mu.Lock()
			defer mu.Unlock()
			a.Starts = append(a.Starts, Start{u.Name, a.now() - from})
			failed = errors.Join(failed, err)
		})
	}
	wg.Wait()
	return failed
}

// freeze stops processes where they are and lets them go on.
func freeze(ctx context.Context, a *act) error {
	units, err := a.units()
	if err != nil {
		return err
	}
	a.Times = len(units)
	onlyWorkers := true
	for _, u := range units {
		a.touches(u, true)
		onlyWorkers = onlyWorkers && u.Role == cluster.Worker
		if err := u.Freeze(); err != nil {
			return err
		}
	}
	if onlyWorkers {
		a.From = a.Began
	}
	sleep(ctx, a.Injection.For)
	for _, u := range units {
		if err := u.Thaw(); err != nil {
			return err
		}
	}
	return nil
}

// finds notes what must not be.
func (a *act) finds(format string, args ...any) {
	a.Broken = append(a.Broken, fmt.Sprintf(format, args...))
}
