package schedule

// Plan is what a schedule owes at an instant.
type Plan struct {
	Slots []Slot // in order; the outcome is Fired (to be admitted) or SkippedMisfire
	Next  int64  // the first slot after them, or Never
	More  bool   // Next is due too: plan again
}

// mostScanned bounds how many missed slots one plan passes over.
const mostScanned = 500_000

// Plan lists the slots from next on (the row's NextAt) that are due by now, or by LookAheadMs later with overlap allow; at most limit rows. The
// decision about each slot depends only on that slot, the one after it and now, so that plans may end anywhere.
func (t *Timetable) Plan(next, now int64, limit int) Plan {
	until := now
	if t.Overlap == Allow {
		until += LookAheadMs
	}
	p := Plan{Next: next}
	skips := 0 // at the end of Slots
	for scanned := 0; p.Next <= until; scanned++ {
		if len(p.Slots) >= limit || scanned >= mostScanned {
			p.More = true
			return p
		}
		at := p.Next
		p.Next = t.Next(at)
		s := Slot{Origin: Planned, At: at, LastAt: at, Count: 1, Outcome: t.misfire(at, p.Next, now), FiredAt: now}
		if s.Outcome == Fired {
			skips = 0
			p.Slots = append(p.Slots, s)
			continue
		}
		if last := len(p.Slots) - 1; skips > 0 && p.Slots[last].Count > 1 {
			p.Slots[last].LastAt, p.Slots[last].Count = at, p.Slots[last].Count+1
			continue
		}
		p.Slots = append(p.Slots, s)
		if skips++; skips > RangeOver {
			from := len(p.Slots) - skips
			p.Slots[from].LastAt, p.Slots[from].Count = at, int64(skips)
			p.Slots, skips = p.Slots[:from+1], 1
		}
	}
	return p
}

// misfire decides about one slot: following is the slot after it.
func (t *Timetable) misfire(at, following, now int64) Outcome {
	if at >= now-GraceMs {
		return Fired
	}
	fits := at >= now-t.MaxAgeMs
	switch t.Misfire {
	case MisfireAll:
		if fits {
			return Fired
		}
	case MisfireOnce:
		if fits && following >= now-GraceMs { // the newest of the missed ones
			return Fired
		}
	}
	return SkippedMisfire
}

// Between lists the planned slots of [from, to), at most limit of them; more tells that there are others.
func (t *Timetable) Between(from, to int64, limit int) (slots []int64, more bool) {
	for at := t.Next(from - 1); at < to; at = t.Next(at) {
		if len(slots) >= limit {
			return slots, true
		}
		slots = append(slots, at)
	}
	return slots, false
}

// Admission is what becomes of a slot that would fire.
type Admission struct {
	Outcome    Outcome // Fired, Held or SkippedOverlap
	CancelOpen bool    // the runs that have not ended are cancelled
	DropHeld   bool    // the slots that wait become skipped_overlap
}

// Admit decides about a slot while open runs of the schedule have not ended and held slots wait. Slots of backfills wait for
// each other where an overlap is not allowed: each of them was asked for.
func Admit(o Overlap, origin int64, open, held int) Admission {
	busy := open > 0 || held > 0
	switch {
	case o == Allow || !busy:
		return Admission{Outcome: Fired}
	case origin >= FirstBackfill || o == Queue:
		if held >= MaxHeld && origin < FirstBackfill {
			return Admission{Outcome: SkippedOverlap}
		}
		return Admission{Outcome: Held}
	case o == CancelPrevious:
		return Admission{Outcome: Held, CancelOpen: true, DropHeld: true}
	}
	return Admission{Outcome: SkippedOverlap}
}
