package cron

import "fmt"

// unix reads minute, hour, day-of-month, month and day-of-week.
func (p parser) unix() (*fields, error) {
	if err := p.count(len(unixFields), len(unixFields)); err != nil {
		return nil, err
	}
	var sets [5]set
	for i, f := range unixFields {
		if err := p.reader(i, f).unixList(&sets[i]); err != nil {
			return nil, err
		}
	}
	f := &fields{
		second: 1, minute: sets[0].bits, hour: uint32(sets[1].bits), month: uint16(sets[3].bits),
		anyYear: true, followsTime: sets[1].wholeDay,
	}
	f.days.dom = uint32(sets[2].bits)
	f.days.dow = uint8(sets[4].bits&0x7f | sets[4].bits>>7) // 7 is Sunday too
	switch dayFree, weekdayFree := p.text(2)[0] == '*', p.text(4)[0] == '*'; {
	case dayFree || weekdayFree:
		f.days.kind = dayAndWeekday
	default:
		f.days.kind = dayOrWeekday
	}
	return f, nil
}

// count refuses an expression with less than least or more than most fields.
func (p parser) count(least, most int) error {
	n := len(p.fields)
	if n >= least && n <= most {
		return nil
	}
	shape := "minute hour day-of-month month day-of-week"
	want := "5 fields"
	if most != len(unixFields) {
		shape, want = "second minute hour day-of-month month day-of-week [year]", "6 or 7 fields"
	}
	pos, length := p.span(0, n-1)
	if n > most {
		pos, length = p.span(most, n-1)
	}
	return p.failAt(pos, length, "fields", fmt.Sprintf("%s are needed (%s), this has %d", want, shape, n))
}

// set collects the values of one field.
type set struct {
	bits     uint64
	wholeDay bool // hours: an item goes over the whole day in even steps
}

// add puts the values from first to last into the set, each step.
func (s *set) add(first, last, step int) {
	for v := first; v <= last; v += step {
		s.bits |= 1 << v
	}
}

// unixList reads lists of *, */n, a, a/n, a-b, a-b/n.
func (r *reader) unixList(s *set) error {
	return r.list(func() error { return r.unixItem(s) })
}

func (r *reader) unixItem(s *set) error {
	first, last, written, err := r.unixRange()
	if err != nil {
		return err
	}
	step := 1
	if r.accept('/') {
		if step, err = r.step(true); err != nil {
			return err
		}
		if !written {
			last = r.f.max
		}
	}
	if r.f == &unixWeekday && last == 7 && !written {
		last = max(first, 6) // * and a/n end with Saturday: Sunday is 0 already
	}
	s.add(first, last, step)
	s.wholeDay = s.wholeDay || r.f == &hourField && first == 0 && last == r.f.max
	return nil
}

// unixRange reads what stands before the step; written tells that its end was named.
func (r *reader) unixRange() (first, last int, written bool, err error) {
	if r.accept('*') {
		return r.f.min, r.f.max, false, nil
	}
	start := r.pos
	if first, err = r.unixValue(); err != nil {
		return 0, 0, false, err
	}
	if !r.accept('-') {
		return first, first, false, nil
	}
	named := r.peek() >= 'A' && r.peek() <= 'Z'
	if last, err = r.unixValue(); err != nil {
		return 0, 0, false, err
	}
	if r.f == &unixWeekday && named && last == 0 && first > 0 {
		last = 7 // FRI-SUN
	}
	if last < first {
		hint := ""
		if r.f == &unixWeekday && last == 0 {
			hint = "; Sunday at the end of a range is 7"
		}
		return 0, 0, false, r.fail(start, r.pos, "reversed", "the range ends before it begins%s", hint)
	}
	return first, last, true, nil
}

func (r *reader) unixValue() (int, error) {
	start := r.pos
	if word := r.word(); word != "" {
		if v, ok := r.f.byName(word); ok {
			return v, nil
		}
		if len(word) <= 2 && (upper(word[0]) == 'L' || upper(word[0]) == 'W') {
			return 0, r.fail(start, r.pos, "syntax", "%q belongs to Quartz: use 6 fields, with seconds first", word)
		}
		return 0, r.unknown(start)
	}
	if r.peek() == '?' {
		return 0, r.fail(r.pos, r.pos+1, "syntax", "? belongs to Quartz: write * or use 6 fields, with seconds first")
	}
	v, err := r.number("a value")
	if err != nil {
		return 0, err
	}
	if err := r.inRange(v, start); err != nil {
		return 0, err
	}
	return v, r.notQuartz()
}

// notQuartz explains what only Quartz knows.
func (r *reader) notQuartz() error {
	switch r.peek() {
	case 'L', 'W', '#':
		return r.fail(r.pos, r.itemEnd(), "syntax", "%q belongs to Quartz: use 6 fields, with seconds first", clip(r.p.expr[r.pos:r.itemEnd()]))
	}
	return nil
}
