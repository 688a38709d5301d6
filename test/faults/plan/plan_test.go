package plan

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/test/faults/cluster"
	"github.com/taskweir/taskweir/test/faults/faults"
)

func options(seed uint64) Options {
	shape := cluster.Standard()
	return Options{Seed: seed, Shape: shape, Kinds: faults.Catalogue(shape), Pace: faults.Fast, Heavy: 4}
}

func TestSameSeedGivesTheSamePlanAndAnotherSeedAnother(t *testing.T) {
	printed := func(seed uint64) string {
		var b bytes.Buffer
		New(options(seed)).Print(&b, 3, 0)
		return b.String()
	}
	first := printed(7)
	if again := printed(7); again != first {
		t.Error("seed 7 gave two plans")
	}
	if printed(8) == first {
		t.Error("seeds 7 and 8 gave one plan")
	}
	if !strings.Contains(first, "SIGKILL worker") || !strings.Contains(first, "round 1, pass 1") {
		t.Error(first)
	}
}

func TestEveryPassHasEveryKindOnce(t *testing.T) {
	for seed := range uint64(20) {
		o := options(seed)
		p := New(o)
		for pass := 1; pass <= 2; pass++ {
			count := map[string]int{}
			for p.Pass() == pass {
				for _, i := range p.Next().Injections {
					count[i.Kind]++
				}
			}
			for _, k := range o.Kinds {
				if count[k.Name] != 1 {
					t.Errorf("seed %d, pass %d: %s occurs %d times", seed, pass, k.Name, count[k.Name])
				}
				delete(count, k.Name)
			}
			if len(count) > 0 {
				t.Errorf("kinds that are in no catalogue: %v", count)
			}
		}
	}
}

func TestFaultsOfARoundHurtDifferentThings(t *testing.T) {
	p := New(options(3))
	for p.Pass() <= 5 {
		r := p.Next()
		taken := map[string]string{}
		for _, i := range r.Injections {
			if len(i.Targets) == 0 {
				t.Errorf("%s has no target", i.Kind)
			}
			if p.Kind(i.Kind).Weight == faults.Alone && len(r.Injections) > 1 {
				t.Errorf("%s is not alone:\n%s", i.Kind, r)
			}
			for _, target := range i.Targets {
				if p.Kind(i.Kind).Weight == faults.Cheap {
					if by, hurt := taken[target]; hurt && p.Kind(by).Weight != faults.Cheap {
						t.Errorf("%s is hurt by %s and by %s:\n%s", target, by, i.Kind, r)
					}
					target += " " + i.Point
				}
				if by, hurt := taken[target]; hurt {
					t.Errorf("%s is hurt by %s and by %s:\n%s", target, by, i.Kind, r)
				}
				taken[target] = i.Kind
			}
		}
	}
}

func TestEveryLinkIsHurtInEveryWay(t *testing.T) {
	o := options(5)
	p, hurt := New(o), map[string]bool{}
	for p.Pass() <= 16 {
		for _, i := range p.Next().Injections {
			for _, target := range i.Targets {
				hurt[p.Kind(i.Kind).Group+" "+target] = true
			}
		}
	}
	for _, way := range []string{"latency", "cut", "half-open", "slow close"} {
		for _, l := range o.Shape.Links {
			if name := "network: " + way + " " + l.From + "→" + l.To; !hurt[name] {
				t.Errorf("%s never happened", name)
			}
		}
	}
	for _, u := range o.Shape.Units {
		for _, g := range []string{"SIGKILL", "SIGSTOP, SIGCONT after longer than the lease", "SIGTERM and start"} {
			if u.Role.Ours() && !hurt[g+" "+u.Name] {
				t.Errorf("%s %s never happened", g, u.Name)
			}
		}
	}
}

func TestWishedCheapFaultsAreInEveryRound(t *testing.T) {
	o := options(5)
	o.Cheap = 6
	p := New(o)
	for range 60 {
		r := p.Next()
		n := len(slices.DeleteFunc(slices.Clone(r.Injections), func(i faults.Injection) bool { return p.Kind(i.Kind).Weight != faults.Cheap }))
		taken := len(slices.DeleteFunc(slices.Clone(r.Injections), func(i faults.Injection) bool { return len(i.Targets) < 8 })) > 0 // nobody is left to prick
		if alone := p.Kind(r.Injections[0].Kind).Weight == faults.Alone; !alone && !taken && (n < 1 || n > 6) {
			t.Errorf("%d cheap faults:\n%s", n, r)
		}
	}
}

func TestPlanOfOneKindRepeatsIt(t *testing.T) {
	for _, name := range []string{"SIGKILL worker", "db.exec deadlock", "database away: frozen"} {
		o := options(1)
		o.Kinds = slices.DeleteFunc(o.Kinds, func(k faults.Kind) bool { return k.Name != name })
		p := New(o)
		for range 5 {
			if r := p.Next(); len(r.Injections) != 1 || r.Injections[0].Kind != name {
				t.Errorf("%s: %s", name, r)
			}
		}
	}
}
