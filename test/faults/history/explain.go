package history

import (
	"slices"
	"time"
)

// aftermath is how long a fault that was taken back may still have consequences: a dead worker is noticed within 16 s and its tasks
// run elsewhere within 20 s (design, section 5); what was cut off finds back as fast.
const aftermath = 20 * time.Second

// until is when the harness had taken the fault back.
func (f *Fault) until() time.Duration {
	if f.Ended == 0 {
		return 1<<62 - 1
	}
	return f.Ended
}

// touches reports whether the fault may have consequences in a stretch of time.
func (f *Fault) touches(s span) bool {
	return s.hi >= f.Injected && s.lo <= min(f.until(), 1<<61)+aftermath
}

// explainer finds faults.
type explainer struct {
	byWorker map[string][]*Fault
	byPart   map[string][]*Fault
	names    map[int64]string // of workers, by id
}

func newExplainer(h *History, k *clocks) *explainer {
	e := &explainer{byWorker: map[string][]*Fault{}, byPart: map[string][]*Fault{}, names: map[int64]string{}}
	for i := range h.Faults {
		f := &h.Faults[i]
		for _, w := range f.Workers {
			e.byWorker[w] = append(e.byWorker[w], f)
		}
		for _, p := range f.Parts {
			e.byPart[p] = append(e.byPart[p], f)
		}
	}
	byTime := func(a, b *Fault) int { return int(a.Injected - b.Injected) }
	for _, list := range e.byWorker {
		slices.SortFunc(list, byTime)
	}
	for _, list := range e.byPart {
		slices.SortFunc(list, byTime)
	}
	for _, w := range h.End.Workers {
		e.names[w.ID] = nameOf(h, k, &w)
	}
	return e
}

// nameOf finds the process that a worker's row belongs to. Pids are used again in long runs: of several starts with the same pid
// it is the last one before the registration.
func nameOf(h *History, k *clocks, w *Worker) string {
	name, latest := "", time.Duration(-1)
	for i := range h.Processes {
		p := &h.Processes[i]
		if p.PID != w.PID || p.Started <= latest {
			continue
		}
		if p.Started > 0 && w.Started != 0 && k.of(w.Started).hi < p.Started {
			continue
		}
		name, latest = p.Name, p.Started
	}
	return name
}

// worker finds a fault that touched a worker within a stretch of time: the one that began last before its end.
func (e *explainer) worker(id int64, s span, late bool) *Fault {
	return lastOf(e.byWorker[e.names[id]], s, late)
}

// part finds a fault that touched one of the parts within a stretch of time.
func (e *explainer) part(s span, parts ...string) *Fault {
	var found *Fault
	for _, p := range parts {
		if f := lastOf(e.byPart[p], s, false); f != nil && (found == nil || f.Injected > found.Injected) {
			found = f
		}
	}
	return found
}

// lastOf finds the last fault of a sorted list that touches a stretch of time.
func lastOf(list []*Fault, s span, late bool) *Fault {
	end, _ := slices.BinarySearchFunc(list, s.hi, func(f *Fault, at time.Duration) int {
		if f.Injected > at {
			return 1
		}
		return -1
	})
	for i := end - 1; i >= 0; i-- {
		if list[i].touches(s) && (!late || list[i].Late) {
			return list[i]
		}
	}
	return nil
}
