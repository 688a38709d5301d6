package cron

// Timetable tells when a schedule fires. It never changes: any number of goroutines may use it.
type Timetable struct {
	zone    *zone
	fields  *fields // of an expression; else nil
	every   int64   // ms; 0 unless it is an interval
	anchor  int64   // ms
	at      int64   // ms; 0 unless it fires once
	shift   bool    // what does not exist happens later
	overlap DSTOverlap
}

// Next gives the first fire strictly after afterMs, both in ms since 1970 UTC. ok is false when there is none ever. There are no
// fires before 1970, and those of expressions end with LastYear.
func (t *Timetable) Next(afterMs int64) (atMs int64, ok bool) {
	after := max(afterMs, -1)
	if after >= MaxInstant {
		return 0, false
	}
	switch {
	case t.fields != nil:
		second := floorDiv(after, 1000) + 1
		if second > maxSecond {
			return 0, false
		}
		second, ok = t.nextSecond(second)
		return second * 1000, ok
	case t.every != 0:
		at := t.anchor + (floorDiv(after-t.anchor, t.every)+1)*t.every
		return at, at <= MaxInstant
	}
	return t.at, t.at > after
}

// nextSecond gives the first fire of an expression that is not before the instant at, in seconds.
func (t *Timetable) nextSecond(at int64) (int64, bool) {
	for i := t.zone.segment(at); ; i = t.zone.segment(at) {
		fire, wall, more := t.nextIn(i, at)
		if fire >= 0 {
			return fire, true
		}
		// A clock that is set back shows again what it has shown up to a day ago, so the next segments are looked at one by one
		// for that long; then the search goes on shortly before the instant at which the wall time is shown.
		end := t.zone.end(i)
		near := end-at < 2*secondsADay
		switch {
		case i+1 == len(t.zone.starts), !more && !near:
			return 0, false
		case !near:
			end = max(end, wall-2*secondsADay)
		}
		at = end
	}
}

// nextIn gives the first fire from at to the end of segment i; it is negative if there is none. wall is the next time of the
// expression on the wall then; more is false when there is none ever.
func (t *Timetable) nextIn(i int, at int64) (fire, wall int64, more bool) {
	z := t.zone
	offset, limit := z.offsets[i], z.end(i)
	from, fire := at, int64(-1)
	if i > 0 && !t.fields.followsTime {
		switch before := z.offsets[i-1]; {
		case before > offset && t.overlap == First:
			from = max(at, z.starts[i]+before-offset)
		case before < offset && t.shift:
			fire = t.shifted(at, z.starts[i], before, offset)
		}
	}
	if t.overlap == Second && !t.fields.followsTime && i+1 < len(z.offsets) && z.offsets[i+1] < offset {
		limit -= offset - z.offsets[i+1]
	}
	wall, more = t.fields.next(from + offset)
	if regular := wall - offset; more && regular < limit && (fire < 0 || regular < fire) {
		fire = regular
	}
	return fire, wall, more
}

// shifted gives the first fire from at on whose wall time was left out when the clock was set forward at start; negative if there
// is none.
func (t *Timetable) shifted(at, start, before, offset int64) int64 {
	if at+before >= start+offset {
		return -1
	}
	if wall, ok := t.fields.next(at + before); ok && wall < start+offset {
		return wall - before
	}
	return -1
}

// Local is the wall time of an instant (ms since 1970 UTC) in the zone of the timetable, with its offset, as RFC 3339 has it.
// Milliseconds are shown if there are any.
func (t *Timetable) Local(atMs int64) string {
	second := floorDiv(atMs, 1000)
	offset := t.zone.offsets[t.zone.segment(second)]
	b := appendWall(make([]byte, 0, 32), second+offset)
	if ms := atMs - second*1000; ms != 0 {
		b = appendNumber(append(b, '.'), int(ms), 3)
	}
	return string(appendOffset(b, offset))
}

// appendWall writes 2006-01-02T15:04:05.
func appendWall(b []byte, wall int64) []byte {
	day := floorDiv(wall, secondsADay)
	y, m, d := dateOf(day)
	s := int(wall - day*secondsADay)
	b = append(appendNumber(b, y, 4), '-')
	b = append(appendNumber(b, m, 2), '-')
	b = append(appendNumber(b, d, 2), 'T')
	b = append(appendNumber(b, s/3600, 2), ':')
	b = append(appendNumber(b, s/60%60, 2), ':')
	return appendNumber(b, s%60, 2)
}

// appendOffset writes Z or +02:00. RFC 3339 has no seconds: those of offsets before 1972 are left out.
func appendOffset(b []byte, offset int64) []byte {
	if offset == 0 {
		return append(b, 'Z')
	}
	sign := byte('+')
	if offset < 0 {
		sign, offset = '-', -offset
	}
	b = append(appendNumber(append(b, sign), int(offset/3600), 2), ':')
	return appendNumber(b, int(offset/60%60), 2)
}

func appendNumber(b []byte, n, digits int) []byte {
	at := len(b)
	for range digits {
		b = append(b, '0')
	}
	for i := at + digits - 1; i >= at; i-- {
		b[i] = '0' + byte(n%10)
		n /= 10
	}
	return b
}
