package cron

import "fmt"

// Note says in a few words what a change of the clock does to one fire: "02:30 does not exist on this day: shifted to 03:30",
// "second 02:30 of this day". It is empty on all other days, and for intervals and single instants.
func (t *Timetable) Note(atMs int64) string {
	second := floorDiv(atMs, 1000)
	if t.fields == nil {
		return ""
	}
	i := t.zone.segment(second)
	offset := t.zone.offsets[i]
	if i > 0 {
		start, before := t.zone.starts[i], t.zone.offsets[i-1]
		if second+before < start+offset && t.shift && !t.fields.followsTime && t.fields.matches(second+before) {
			return t.shiftNote(second+before, second+offset)
		}
		if second+offset < start+before {
			return "second " + clock(second+offset) + " of this day"
		}
	}
	if i+1 < len(t.zone.offsets) && second+offset >= t.zone.end(i)+t.zone.offsets[i+1] {
		return "first " + clock(second+offset) + " of this day"
	}
	return ""
}

// shiftNote says that the fire of a wall time that was left out happens at another.
func (t *Timetable) shiftNote(missing, instead int64) string {
	from, to, day := clock(missing), clock(instead), " on this day"
	if floorDiv(missing, secondsADay) != floorDiv(instead, secondsADay) {
		from, to, day = dateAndClock(missing), dateAndClock(instead), ""
	}
	if t.fields.matches(instead) {
		return fmt.Sprintf("%s does not exist%s: falls together with %s", from, day, to)
	}
	return fmt.Sprintf("%s does not exist%s: shifted to %s", from, day, to)
}

// NoteBetween says which fire after afterMs and before atMs does not happen because its wall time does not exist; the first one
// if there are several. It is empty if there is none. A preview asks it for each two fires that follow one another.
func (t *Timetable) NoteBetween(afterMs, atMs int64) string {
	if t.fields == nil || !t.leavesOut() {
		return ""
	}
	after, at := max(0, floorDiv(afterMs, 1000)), floorDiv(atMs, 1000)
	for i := t.zone.segment(after) + 1; i < len(t.zone.starts) && t.zone.starts[i] <= at; i++ {
		start, before, offset := t.zone.starts[i], t.zone.offsets[i-1], t.zone.offsets[i]
		if wall, ok := t.fields.next(start + before); ok && wall < start+offset {
			return dateAndClock(wall) + " does not exist: left out"
		}
	}
	return ""
}

// leavesOut tells whether fires are left out when the clock is set forward. An expression for every hour has nothing to lose.
func (t *Timetable) leavesOut() bool {
	if t.fields.followsTime {
		return t.fields.hour != 1<<24-1
	}
	return !t.shift
}

// matches tells whether the expression names a wall time.
func (f *fields) matches(wall int64) bool {
	next, ok := f.next(wall)
	return ok && next == wall
}

// clock writes 15:04, or 15:04:05.
func clock(wall int64) string {
	s := int(wall - floorDiv(wall, secondsADay)*secondsADay)
	if s%60 == 0 {
		return fmt.Sprintf("%02d:%02d", s/3600, s/60%60)
	}
	return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
}

// dateAndClock writes 2006-01-02 15:04.
func dateAndClock(wall int64) string {
	y, m, d := dateOf(floorDiv(wall, secondsADay))
	return fmt.Sprintf("%04d-%02d-%02d %s", y, m, d, clock(wall))
}
