// Package plan draws what a run does to its cluster, from a seed. The same seed gives the same plan, whatever the machine makes of
// it: nothing is drawn while the cluster runs.
//
// A plan is a sequence of rounds. The faults of a round overlap; after them the run waits until all is well again, so that it can
// tell how long that took. Rounds come in passes: in each pass every kind of fault occurs once, in a new order and in new company, so
// that a pass is as long as the catalogue and a plan that is cut off anywhere has hurt everything about equally often.
package plan

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/taskweir/taskweir/test/faults/cluster"
	"github.com/taskweir/taskweir/test/faults/faults"
)

// Options say how a plan is drawn.
type Options struct {
	Seed  uint64
	Shape cluster.Shape
	Kinds []faults.Kind
	Pace  faults.Pace
	Heavy int  // heavy faults of a round at the most; at least 1
	Full  bool // each round has as many
	Cheap int  // cheap faults of a round at the most; 0: as many as a pass needs so that each occurs once
}

// stagger is the time over which the faults of a round begin.
const stagger = 1500 * time.Millisecond

// Round is the faults that overlap.
type Round struct {
	N, Pass    int
	Injections []faults.Injection
}

// String is the round as a printed plan shows it.
func (r Round) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "round %d, pass %d\n", r.N, r.Pass)
	for _, i := range r.Injections {
		fmt.Fprintf(&b, "  %s\n", i)
	}
	return b.String()
}

// Plan gives its rounds one after another; it never ends.
type Plan struct {
	o     Options
	rand  *rand.Rand
	uses  map[string]int
	kinds map[string]faults.Kind

	n, pass int
	heavy   []faults.Kind // of this pass, in the order in which they come
	cheap   []faults.Kind // in turn
}

// New begins a plan.
func New(o Options) *Plan {
	p := &Plan{o: o, rand: rand.New(rand.NewPCG(o.Seed, o.Seed>>32|1)), uses: map[string]int{}, kinds: map[string]faults.Kind{}}
	p.o.Heavy = max(1, o.Heavy)
	for _, k := range o.Kinds {
		p.kinds[k.Name] = k
	}
	return p
}

// Kind gives the kind of an injection.
func (p *Plan) Kind(name string) faults.Kind { return p.kinds[name] }

// Pass tells in which pass the round is that Next gives next; the first is 1.
func (p *Plan) Pass() int {
	if len(p.heavy) == 0 {
		return p.pass + 1
	}
	return p.pass
}

// Next draws the next round.
func (p *Plan) Next() Round {
	if len(p.heavy) == 0 {
		p.begin()
	}
	p.n++
	d := &faults.Drawing{Rand: p.rand, Shape: p.o.Shape, Pace: p.o.Pace, Uses: p.uses, Taken: map[string]bool{}}
	r := Round{N: p.n, Pass: p.pass}
	if p.heavy[0].Weight == faults.Alone {
		r.Injections = p.draw(d, p.take(0))
		return r
	}
	r.Injections = append(p.company(d), p.pinpricks(d)...)
	slices.SortStableFunc(r.Injections, func(a, b faults.Injection) int { return int(a.At - b.At) })
	return r
}

// begin shuffles the kinds for a new pass.
func (p *Plan) begin() {
	p.pass++
	p.cheap = nil
	for _, k := range p.o.Kinds {
		if k.Weight == faults.Cheap {
			p.cheap = append(p.cheap, k)
		} else {
			p.heavy = append(p.heavy, k)
		}
	}
	if len(p.heavy) == 0 { // somebody wants cheap ones only
		p.heavy, p.cheap = p.cheap, nil
	}
	shuffle := func(list []faults.Kind) {
		p.rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	shuffle(p.heavy)
	shuffle(p.cheap)
}

func (p *Plan) take(at int) faults.Kind {
	k := p.heavy[at]
	p.heavy = slices.Delete(p.heavy, at, at+1)
	return k
}

// company draws the heavy faults of a round: the next of the pass, and some of those after it that find something left to hurt.
func (p *Plan) company(d *faults.Drawing) (list []faults.Injection) {
	n := 1 + p.rand.IntN(p.o.Heavy)
	if p.o.Full {
		n = p.o.Heavy
	}
	for at := 0; at < len(p.heavy) && len(list) < n; {
		if p.heavy[at].Weight == faults.Alone {
			at++
			continue
		}
		drawn := p.draw(d, p.heavy[at])
		if len(drawn) == 0 {
			at++
			continue
		}
		p.take(at)
		list = append(list, drawn...)
	}
	return list
}

// pinpricks draws the cheap faults of a round: as many as the rest of the pass needs, and at the most what is wished for.
func (p *Plan) pinpricks(d *faults.Drawing) (list []faults.Injection) {
	n := p.o.Cheap
	if n == 0 {
		rounds := max(1, len(p.heavy)/p.o.Heavy)
		n = (len(p.cheap) + rounds - 1) / rounds
	}
	for tries := len(p.cheap); tries > 0 && len(list) < n && len(p.cheap) > 0; tries-- {
		k := p.cheap[0]
		p.cheap = p.cheap[1:]
		if p.o.Cheap > 0 {
			p.cheap = append(p.cheap, k) // they come in turn for as long as there are rounds
		}
		drawn := p.draw(d, k)
		if len(drawn) == 0 && p.o.Cheap == 0 {
			p.cheap = append(p.cheap, k)
		}
		list = append(list, drawn...)
	}
	return list
}

// draw makes the injection of a kind, or none when everything that it could hurt is taken.
func (p *Plan) draw(d *faults.Drawing, k faults.Kind) []faults.Injection {
	i, ok := k.Draw(d)
	if !ok {
		return nil
	}
	if k.Weight != faults.Alone {
		i.At = time.Duration(p.rand.Int64N(int64(stagger))).Round(time.Millisecond)
	}
	return []faults.Injection{i}
}

// Print writes the rounds of some passes, or of all rounds up to a number if that is not 0.
func (p *Plan) Print(w io.Writer, passes, rounds int) {
	for p.Pass() <= passes && (rounds == 0 || p.n < rounds) {
		fmt.Fprint(w, p.Next())
	}
}
