package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/test/faults/cluster"
	"github.com/taskweir/taskweir/test/faults/history"
	"github.com/taskweir/taskweir/test/faults/network"
)

// What must occur, in the names that the tables show.
func promised() (names []string) {
	for _, role := range []string{"api", "scheduler", "worker", "MariaDB", "Redis", "nsqd", "nsqlookupd", "several"} {
		for _, signal := range []string{"SIGKILL", "SIGSTOP", "SIGTERM"} {
			names = append(names, signal+" "+role)
		}
	}
	for _, pair := range []string{"api→MariaDB", "scheduler→MariaDB", "worker→MariaDB", "api→Redis", "scheduler→Redis", "worker→Redis", "api→nsqd", "scheduler→nsqd",
		"worker→nsqd", "worker→nsqlookupd", "nsqd→nsqlookupd", "worker→sink", "client→api"} {
		for _, trouble := range []string{"latency", "cut", "half-open", "slow close"} {
			names = append(names, trouble+" "+pair)
		}
	}
	for _, point := range []string{"db.exec", "db.commit"} {
		for _, e := range []string{"deadlock", "lock_wait", "lost_before", "lost_after"} {
			names = append(names, point+" "+e)
		}
	}
	for _, point := range []string{"submit.committed", "ring.publish", "claim.tx", "claim.committed", "claim.run", "run.effect", "finish.committed"} {
		names = append(names, point+" SIGKILL", point+" late")
	}
	for _, point := range []string{"submit.answer", "claim.answer", "finish.answer"} {
		names = append(names, point+" SIGKILL", point+" fails, lost_after")
	}
	for _, way := range []string{"stopped", "killed", "frozen", "cut off", "half-open"} {
		names = append(names, "database away: "+way)
	}
	return append(names, "claim.tx SIGSTOP", "run.effect SIGSTOP", "SIGKILL all of Taskweir", "FLUSHALL Redis", "clock jump of one", "clock jump of all")
}

func all() []Kind { return append(Catalogue(cluster.Standard()), Clocks()...) }

func TestCatalogueHasEveryKindThatIsPromised(t *testing.T) {
	known := map[string]bool{}
	for _, k := range all() {
		if known[k.Name] {
			t.Errorf("%s is listed twice", k.Name)
		}
		if known[k.Name] = true; k.Group == "" || k.draw == nil || k.act == nil {
			t.Errorf("%s is not whole", k.Name)
		}
	}
	for _, name := range promised() {
		if !known[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

func drawing(seed uint64, p Pace) *Drawing {
	return &Drawing{Rand: rand.New(rand.NewPCG(seed, 1)), Shape: cluster.Standard(), Pace: p, Uses: map[string]int{}, Taken: map[string]bool{}}
}

func TestEveryKindDrawsTargetsThatExist(t *testing.T) {
	exists := map[string]bool{}
	for _, u := range cluster.Standard().Units {
		exists[u.Name] = true
	}
	for _, l := range cluster.Standard().Links {
		exists[l.From+network.Arrow+l.To] = true
	}
	for _, k := range all() {
		for seed := range uint64(50) {
			d := drawing(seed, Fast)
			i, ok := k.Draw(d)
			if !ok || len(i.Targets) == 0 || i.Kind != k.Name {
				t.Fatalf("%s: %v %v", k.Name, i, ok)
			}
			for _, target := range i.Targets {
				if k.Weight == Cheap && !d.Taken[at(target, i.Point)] || k.Weight != Cheap && !d.Taken[target] || !exists[target] {
					t.Errorf("%s is done to %q, taken: %v", k.Name, target, d.Taken[target])
				}
			}
			if _, again := k.Draw(&Drawing{Rand: d.Rand, Shape: d.Shape, Pace: Fast, Uses: map[string]int{}, Taken: exists}); again && k.Weight != Alone {
				t.Errorf("%s is drawn although everything is taken", k.Name)
			}
		}
	}
}

// What is stopped to be missed must be away for longer than the death watch waits, at every pace.
func TestFrozenWorkersAndAbsentDatabasesAreAwayForLongerThanTheLease(t *testing.T) {
	for _, p := range []Pace{Fast, Default} {
		for _, k := range all() {
			if k.Weight != Alone && !slices.Contains([]string{"SIGSTOP worker", "SIGSTOP MariaDB", "SIGSTOP several", "claim.tx SIGSTOP", "run.effect SIGSTOP"}, k.Name) {
				continue
			}
			for seed := range uint64(50) {
				if i, _ := k.Draw(drawing(seed, p)); i.For <= p.DeadAfter {
					t.Errorf("%s at the pace %s lasts %v", k.Name, p.Name, i.For)
				}
			}
		}
	}
}

func TestLinksTakeTurns(t *testing.T) {
	d := drawing(1, Fast)
	hit := map[string]bool{}
	for range 40 {
		d.Taken = map[string]bool{}
		for _, k := range all() {
			if k.Name != "cut worker→nsqd" {
				continue
			}
			if i, ok := k.Draw(d); ok && len(i.Targets) == 1 {
				hit[i.Targets[0]] = true
			}
		}
	}
	if len(hit) != 8 {
		t.Errorf("of 8 links only %v were cut alone", hit)
	}
}

func TestInjectionIsALineThatSaysEverything(t *testing.T) {
	i := Injection{Kind: "db.exec deadlock", Targets: []string{"api1"}, At: 1500 * time.Millisecond, For: 4 * time.Second, Point: "db.exec",
		Rule: &cluster.Rule{Action: "error", Error: "deadlock", Times: 7, Every: 3, Skip: 2}}
	if got := fmt.Sprint(i); got != "+1.5s   db.exec deadlock                 api1, for 4s, db.exec: error deadlock 7 times, each 3. after 2" {
		t.Errorf("%q", got)
	}
	i = Injection{Kind: "half-open api→Redis", Targets: []string{"api1→redis"}, By: time.Second, Way: network.Forth}
	if got := fmt.Sprint(i); !strings.HasSuffix(got, "api1→redis, by 1s, way forth") {
		t.Errorf("%q", got)
	}
}

// The checker explains duplicates and late effects by what a fault says of itself: it must say neither too much nor too little.
func TestFaultSaysWhomItCutsOff(t *testing.T) {
	workers := cluster.Standard().Named(cluster.Worker)
	for _, c := range []struct {
		role    cluster.Role
		late    bool // the unit was stopped, not killed
		workers []string
		isLate  bool
		parts   []string
	}{
		{cluster.Worker, false, []string{"x"}, false, nil},
		{cluster.Worker, true, []string{"x"}, true, nil},
		{cluster.API, true, nil, false, []string{history.PartAPI}},
		{cluster.Scheduler, true, nil, false, []string{history.PartScheduler}},
		{cluster.MariaDB, false, workers, true, []string{history.PartDatabase}},
		{cluster.Redis, true, nil, false, []string{history.PartRedis}},
		{cluster.NSQD, true, nil, false, []string{history.PartNSQ}},
		{cluster.NSQLookupd, false, nil, false, []string{history.PartNSQ}},
	} {
		a := &act{Result: &Result{}}
		a.touches(&cluster.Unit{Name: "x", Role: c.role}, c.late)
		if f := a.Fault; !slices.Equal(f.Workers, c.workers) || f.Late != c.isLate || !slices.Equal(f.Parts, c.parts) {
			t.Errorf("%s, stopped %v: %+v", c.role, c.late, f)
		}
	}
}
