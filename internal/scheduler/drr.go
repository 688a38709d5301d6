package scheduler

import "slices"

// quantum is what an app may ring per turn, in tasks, at the largest weight of those that take turns.
const quantum = 4

// drr is deficit round robin by weight over the apps of a lane that have bells to ring. A turn adds an app's share to its
// deficit, and it rings while that is positive; a bell may overdraw it, so that bells larger than a share are served too.
//
// An app that just got a backlog is served next. It cannot gain by leaving and coming back: a debt is remembered and paid
// off only by the rounds in between, and who had a turn in this round waits for the next one.
type drr struct {
	turns []*share // in order; the first has its turn
	all   map[int32]*share
	round int64
	last  *share // the round ends with its turn
	wmax  int
}

type share struct {
	app     int32
	weight  int
	deficit float64
	inTurn  bool // its share of this turn was added
	active  bool
	left    int64 // round in which it became inactive
	turn    int64 // round of its last turn
}

// activate lets an app take part, next in turn.
func (d *drr) activate(app int32, weight int) {
	if d.all == nil {
		d.all = make(map[int32]*share)
	}
	s := d.all[app]
	if s == nil {
		s = &share{app: app, turn: d.round - 1}
		d.all[app] = s
	}
	s.weight = max(1, weight)
	if s.active {
		d.measure()
		return
	}
	s.active, s.inTurn = true, false
	if s.deficit < 0 {
		s.deficit = min(0, s.deficit+float64(d.round-s.left)*quantum)
	} else {
		s.deficit = 0
	}
	if s.turn == d.round || s.deficit < 0 {
		d.turns, d.last = append(d.turns, s), s
	} else {
		d.turns = append([]*share{s}, d.turns...)
	}
	if d.last == nil {
		d.last = s
	}
	d.measure()
}

// deactivate ends an app's part: it has nothing to ring.
func (d *drr) deactivate(app int32) {
	s := d.all[app]
	if s == nil || !s.active {
		return
	}
	s.active = false
	i := slices.Index(d.turns, s)
	d.turns = slices.Delete(d.turns, i, i+1)
	if d.last == s {
		d.endRoundWithout(i)
	}
	s.left = d.round
	d.forgive()
	d.measure()
}

// endRoundWithout finds the new end of the round when the app that was to end it, at position i, is out: who comes before
// it, or the round is over.
func (d *drr) endRoundWithout(i int) {
	switch {
	case len(d.turns) == 0:
		d.last = nil
		d.round++
	case i == 0:
		d.last = d.turns[len(d.turns)-1]
		d.round++
	default:
		d.last = d.turns[i-1]
	}
}

// forgive drops idle apps that owe nothing, so that the memory does not grow with apps ever seen.
func (d *drr) forgive() {
	if len(d.turns) == 0 {
		clear(d.all)
		return
	}
	if len(d.all) < 2*len(d.turns)+16 {
		return
	}
	for app, s := range d.all {
		if !s.active && s.deficit+float64(d.round-s.left)*quantum >= 0 {
			delete(d.all, app)
		}
	}
}

func (d *drr) measure() {
	d.wmax = 1
	for _, s := range d.turns {
		d.wmax = max(d.wmax, s.weight)
	}
}

// next gives the app that rings now; ok is false when none takes part.
func (d *drr) next() (app int32, ok bool) {
	for len(d.turns) > 0 {
		s := d.turns[0]
		if !s.inTurn {
			s.inTurn, s.turn = true, d.round
			s.deficit = min(s.deficit+quantum*float64(s.weight)/float64(d.wmax), quantum)
		}
		if s.deficit > 0 {
			return s.app, true
		}
		d.pass()
	}
	return 0, false
}

// pass ends the turn of the first app.
func (d *drr) pass() {
	s := d.turns[0]
	s.inTurn = false
	copy(d.turns, d.turns[1:])
	d.turns[len(d.turns)-1] = s
	if s == d.last {
		d.round++
		d.last = d.turns[len(d.turns)-1]
	}
}

// skip ends the turn of an app that may not ring now, although it has bells.
func (d *drr) skip(app int32) {
	if len(d.turns) > 0 && d.turns[0].app == app {
		d.pass()
	}
}

// charge notes that an app rang n tasks.
func (d *drr) charge(app int32, n int) {
	if s := d.all[app]; s != nil {
		s.deficit -= float64(n)
	}
}
