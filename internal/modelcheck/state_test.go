package modelcheck_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

// state is everything: the rows, what each worker process holds in memory, and what may still happen. Messages are not in
// it: any bell may be rung at any time, any number of times, whoever claims it, so that a message lost, doubled, late or forged
// is only an action that is taken or not.
type state struct {
	d         *rows
	procs     [2]proc
	left      budget
	submitted uint8 // bits of the scenario's tasks
	from      *state
	via       string  // the action that led here
	sub       *answer // while an action is applied: of the call that came between
}

// proc is the memory of one worker process.
type proc struct {
	id      int64 // its worker id
	runs    []run
	claims  []held
	unknown []int64 // claims whose outcome it does not know
}

// run is an attempt in memory, from its claim to the commit of its end.
type run struct {
	task, epoch, claim, worker, attempt int64
	failures, expires, flags, flow      int64 // of its item; expires relative to now, also when it is past
	places                              int64
	cause                               cause
	ended                               bool
	end                                 endDecided
}

// held is a claim in memory.
type held struct {
	id, worker int64
	left       int  // tasks whose end is not committed
	known      bool // not known any more when its worker id was fenced
}

// cause is why a run was told to stop.
type cause uint8

const (
	notStopped cause = iota
	cancelled
	fenced
)

func (s *state) clone() *state {
	c := *s
	for i := range c.procs {
		p := &c.procs[i]
		p.runs, p.claims, p.unknown = slices.Clone(p.runs), slices.Clone(p.claims), slices.Clone(p.unknown)
	}
	return &c
}

// Canonical ids. What has none of these roles any more is not in a state.
const (
	firstBell    = 100
	firstClaim   = 200
	staleClaim   = 300 // claims in memory whose rows are gone
	firstAttempt = 10_000
)

// canonical renames ids by their roles, so that states which differ only in which numbers were drawn, or in which of the two
// workers is called the first, are one. It gives the encoding of everything but what may still happen.
func (w *world) canonical(s *state) string {
	swapped := s.clone()
	swapped.procs[0], swapped.procs[1] = swapped.procs[1], swapped.procs[0]
	a, b := w.rename(s), w.rename(swapped)
	key := a
	if b < a {
		*s, key = *swapped, b
	}
	if known := w.states[s.d.key]; known != nil {
		s.d = known
	} else {
		w.states[s.d.key] = s.d
	}
	return key
}

func (w *world) rename(s *state) string {
	d := s.d.clone()
	n := naming{d: d, s: s, workers: map[int64]int64{}, claims: map[int64]int64{}}
	n.nameWorkers()
	n.nameBells()
	n.nameClaims()
	n.renameMemory()
	n.renameRows()
	d.key = d.encode()
	s.d = d
	b := append(make([]byte, 0, len(d.key)+128), d.key...)
	for i := range s.procs {
		b = s.procs[i].encode(b)
	}
	return string(append(b, s.submitted))
}

// naming is one renaming.
type naming struct {
	d       *rows
	s       *state
	workers map[int64]int64
	claims  map[int64]int64
}

func (n *naming) worker(id int64) {
	if _, known := n.workers[id]; !known && id != 0 {
		n.workers[id] = int64(len(n.workers)) + 1
	}
}

// nameWorkers: the two processes, then who else is in their memory, then the workers of claims.
func (n *naming) nameWorkers() {
	for i := range n.s.procs {
		n.worker(n.s.procs[i].id)
	}
	for i := range n.s.procs {
		p := &n.s.procs[i]
		slices.SortFunc(p.runs, compareRuns) // by task and epoch, which no renaming touches
		for k := range p.runs {
			n.worker(p.runs[k].worker)
		}
		slices.SortFunc(p.claims, func(a, b held) int {
			return cmp.Or(cmp.Compare(n.listOf(a.id), n.listOf(b.id)), cmp.Compare(a.left, b.left), cmp.Compare(a.worker, b.worker))
		})
		for k := range p.claims {
			n.worker(p.claims[k].worker)
		}
	}
	claims := slices.Clone(n.d.claims)
	slices.SortFunc(claims, n.compareClaims)
	for _, c := range claims {
		n.worker(c.worker)
	}
}

func compareRuns(a, b run) int {
	ended := func(r run) int {
		if r.ended {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(ended(a), ended(b)), cmp.Compare(a.task, b.task), cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.claim, b.claim))
}

func (n *naming) listOf(claim int64) int64 {
	if c := n.d.claim(claim); c != nil {
		return c.tasks[0]*16 + c.tasks[1]*4 + c.tasks[2]
	}
	return 0
}

// holds gives the tasks that a row holds, as bits.
func (n *naming) holds(id int64) (bits int64) {
	for i := range n.d.tasks {
		if n.d.tasks[i].holder == id {
			bits |= 1 << n.d.tasks[i].id
		}
	}
	return bits
}

func (n *naming) stateOf(worker int64) int64 {
	if x := n.d.worker(worker); x != nil {
		return x.state
	}
	return 0
}

func (n *naming) compareClaims(a, b claimRow) int {
	return cmp.Or(cmp.Compare(n.holds(a.id), n.holds(b.id)), slices.Compare(a.tasks[:], b.tasks[:]),
		cmp.Compare(n.workers[a.worker], n.workers[b.worker]), cmp.Compare(n.stateOf(a.worker), n.stateOf(b.worker)), cmp.Compare(a.id, b.id))
}

func (n *naming) nameBells() {
	slices.SortFunc(n.d.bells, func(a, b bellRow) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.due, b.due), cmp.Compare(n.holds(a.id), n.holds(b.id)),
			slices.Compare(a.tasks[:], b.tasks[:]), cmp.Compare(a.direct, b.direct), cmp.Compare(a.id, b.id))
	})
	for i := range n.d.bells {
		n.claims[n.d.bells[i].id] = int64(firstBell + i)
	}
}

func (n *naming) nameClaims() {
	slices.SortFunc(n.d.claims, n.compareClaims)
	for i := range n.d.claims {
		n.claims[n.d.claims[i].id] = int64(firstClaim + i)
	}
}

// claim gives the name of a claim in memory, whose row may be gone.
func (n *naming) claim(id int64) int64 {
	name, known := n.claims[id]
	if !known {
		name = int64(staleClaim + len(n.claims))
		n.claims[id] = name
	}
	return name
}

func (n *naming) renameMemory() {
	bells, claims := len(n.d.bells), len(n.d.claims)
	stale := func(id int64) int64 {
		name := n.claim(id)
		if name >= staleClaim {
			name -= int64(bells + claims)
		}
		return name
	}
	for i := range n.s.procs {
		p := &n.s.procs[i]
		p.id = n.workers[p.id]
		for k := range p.runs {
			r := &p.runs[k]
			r.claim, r.worker, r.attempt = stale(r.claim), n.workers[r.worker], attemptName(r.task, r.epoch)
			r.settleTimes()
		}
		for k := range p.claims {
			c := &p.claims[k]
			c.id, c.worker = stale(c.id), n.workers[c.worker]
		}
		kept := p.unknown[:0]
		for _, id := range p.unknown {
			if n.d.claim(id) != nil {
				kept = append(kept, stale(id))
			}
		}
		p.unknown = kept
		slices.Sort(p.unknown)
	}
}

func attemptName(task, epoch int64) int64 { return firstAttempt + 100*task + epoch }

// settleTimes keeps of instants that are over only which came first.
func (r *run) settleTimes() {
	if r.ended && r.end.to != int64(task.Waiting) {
		r.end.retry = 0
	}
	if !r.ended || r.end.retry >= 0 && r.end.to != int64(task.Waiting) || r.end.retry > 0 {
		if r.expires < 0 {
			r.expires = -1
		}
		return
	}
	if r.expires < 0 {
		if r.end.retry < r.expires {
			r.end.retry = -2
		} else {
			r.end.retry = -1
		}
		r.expires = -1
	} else {
		r.end.retry = -1
	}
}

func (n *naming) renameRows() {
	d := n.d
	for i := range d.tasks {
		t := &d.tasks[i]
		if t.holder != 0 {
			t.holder = n.claims[t.holder] // 0 when there is no such row: the rules have said so
		}
		if t.state == 3 {
			t.worker = n.workers[t.worker]
		} else {
			t.worker = 0 // of no meaning any more
		}
		if t.attempt != 0 {
			t.attempt = attemptName(t.id, t.epoch)
		}
	}
	for i := range d.bells {
		d.bells[i].id = n.claims[d.bells[i].id]
	}
	for i := range d.claims {
		c := &d.claims[i]
		c.id, c.worker = n.claims[c.id], n.workers[c.worker]
	}
	kept := d.workers[:0]
	for _, x := range d.workers { // who has nothing is as good as purged
		name, known := n.workers[x.id]
		if known && (name <= 2 || slices.ContainsFunc(d.claims, func(c claimRow) bool { return c.worker == name })) {
			kept = append(kept, workerRow{name, x.state})
		}
	}
	d.workers = kept
	slices.SortFunc(d.workers, func(a, b workerRow) int { return cmp.Compare(a.id, b.id) })
	for i := range d.attempts {
		a := &d.attempts[i]
		a.id = attemptName(a.task, a.epoch)
	}
}

// encode gives equal rows equal texts, and others different ones.
func (d *rows) encode() string {
	b := make([]byte, 0, 256)
	num := func(list ...int64) {
		for _, v := range list {
			b = binary.AppendVarint(b, v)
		}
	}
	text := func(s string) {
		num(int64(len(s)))
		b = append(b, s...)
	}
	num(int64(len(d.tasks)), int64(len(d.bells)), int64(len(d.claims)), int64(len(d.workers)), int64(len(d.keys)), int64(len(d.idems)),
		int64(len(d.attempts)), int64(len(d.results)), int64(len(d.ends)))
	for _, t := range d.tasks {
		num(t.id, t.state, t.reason, t.epoch, t.failures, t.losses, t.flags, t.due, t.expires, t.holder, t.worker, t.started, t.finished, t.attempt, t.cancel)
	}
	for _, x := range d.bells {
		num(x.id, x.kind, x.epoch, x.due, x.direct, x.flow, x.n)
		num(x.tasks[:]...)
	}
	for _, x := range d.claims {
		num(x.id, x.worker, x.n)
		num(x.tasks[:]...)
	}
	for _, x := range d.workers {
		num(x.id, x.state)
	}
	for _, x := range d.keys {
		text(x.k)
		num(x.task, x.scope, x.expires)
	}
	for _, x := range d.idems {
		text(x.k + x.request)
		num(x.task)
	}
	for _, x := range d.attempts {
		num(x.task, x.epoch, x.outcome, x.finished)
		text(x.detail)
	}
	for _, x := range d.results {
		num(x.task, x.epoch)
		text(x.body)
	}
	for _, x := range d.ends {
		num(x.state, x.id)
	}
	for _, x := range d.limits {
		num(x.running)
	}
	return string(b)
}

func (p *proc) encode(b []byte) []byte {
	num := func(list ...int64) {
		for _, v := range list {
			b = binary.AppendVarint(b, v)
		}
	}
	num(p.id, int64(len(p.runs)), int64(len(p.claims)), int64(len(p.unknown)))
	for i := range p.runs {
		r := &p.runs[i]
		num(r.task, r.epoch, r.claim, r.worker, r.failures, r.expires, r.flags, r.flow, r.places, int64(r.cause))
		if r.ended {
			num(1)
			b = r.end.encode(b)
		} else {
			num(0)
		}
	}
	for _, c := range p.claims {
		known := int64(0)
		if c.known {
			known = 1
		}
		num(c.id, c.worker, int64(c.left), known)
	}
	num(p.unknown...)
	return b
}

// wholeKey tells states apart that differ in what may still happen.
func (s *state) wholeKey(key string) string {
	l := &s.left
	tail := []byte{byte(l.crashes), byte(l.stops), byte(l.losts), byte(l.unknowns), byte(l.cancels), byte(l.reopens), byte(l.runNows), byte(l.releases), byte(l.resubmits)}
	return string(bytes.Join([][]byte{[]byte(key), tail}, nil))
}
