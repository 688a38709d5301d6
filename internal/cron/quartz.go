package cron

import "strconv"

// quartz reads second, minute, hour, day-of-month, month, day-of-week and perhaps year. auto tells that the number of fields chose
// the dialect.
func (p parser) quartz(auto bool) (*fields, error) {
	if n := len(p.fields); auto && (n < 6 || n > 7) {
		return nil, p.countAuto()
	}
	if err := p.count(6, 7); err != nil {
		return nil, err
	}
	f := &fields{anyYear: true}
	var sets [3]set
	for i := range sets {
		if err := p.reader(i, quartzFields[i]).quartzList(&sets[i]); err != nil {
			return nil, err
		}
	}
	f.second, f.minute, f.hour, f.followsTime = sets[0].bits, sets[1].bits, uint32(sets[2].bits), sets[2].wholeDay
	if err := p.quartzDates(f); err != nil {
		return nil, err
	}
	return f, nil
}

func (p parser) countAuto() error {
	n := len(p.fields)
	pos, length := p.span(0, n-1)
	if n > 7 {
		pos, length = p.span(7, n-1)
	}
	return p.failAt(pos, length, "fields", "5 fields are needed (minute hour day-of-month month day-of-week), or 6 or 7 of Quartz "+
		"(second minute hour day-of-month month day-of-week [year]); this has "+strconv.Itoa(n))
}

func (p parser) quartzDates(f *fields) error {
	monthDays, week := p.reader(3, &dayField), p.reader(5, &quartzWeekday)
	noDay, err := monthDays.quartzDays(&f.days)
	if err != nil {
		return err
	}
	var months set
	if err := p.reader(4, &monthField).quartzList(&months); err != nil {
		return err
	}
	f.month = uint16(months.bits)
	noWeekday, err := week.quartzWeekdays(&f.days)
	if err != nil {
		return err
	}
	switch {
	case noDay && noWeekday:
		return week.fail(p.fields[5].pos, p.fields[5].end, "days", "day-of-month and day-of-week cannot both be ?")
	case !noDay && !noWeekday:
		return p.bothDays(week)
	}
	if len(p.fields) == 7 {
		return p.reader(6, &quartzYearField).quartzYears(f)
	}
	return nil
}

// bothDays refuses an expression that restricts days twice, and says what to write.
func (p parser) bothDays(week *reader) error {
	hint := "write ? for the one that does not matter"
	switch {
	case p.text(5) == "*":
		hint = "write ? instead of * for day-of-week"
	case p.text(3) == "*":
		hint = "write ? instead of * for day-of-month"
	}
	return week.fail(p.fields[5].pos, p.fields[5].end, "days", "Quartz takes day-of-month or day-of-week, not both: %s", hint)
}

// quartzList reads lists of *, */n, /n, a, a/n, a-b, a-b/n.
func (r *reader) quartzList(s *set) error {
	return r.list(func() error { return r.quartzItem(s) })
}

func (r *reader) quartzItem(s *set) error {
	if r.accept('*') {
		if !r.accept('/') {
			s.addFrom(r.f, r.f.min, 1)
			return nil
		}
		return r.quartzOpen(s, r.f.min)
	}
	if r.accept('/') {
		return r.quartzOpen(s, r.f.min)
	}
	first, named, err := r.quartzValue()
	if err != nil {
		return err
	}
	switch {
	case r.accept('-'):
		return r.quartzRange(s, first, named)
	case !named && r.accept('/'):
		return r.quartzOpen(s, first)
	}
	s.addFrom(r.f, first, 0)
	return nil
}

// quartzOpen reads the step of a/n: from a to the end of the field.
func (r *reader) quartzOpen(s *set, first int) error {
	step, err := r.step(true)
	if err == nil {
		s.addFrom(r.f, first, step)
	}
	return err
}

// quartzRange reads the end and the step of a-b/n. A range whose end is before its beginning goes on at the field's start.
func (r *reader) quartzRange(s *set, first int, named bool) error {
	if letter := r.peek() >= 'A' && r.peek() <= 'Z'; letter != named {
		return r.unexpected("a value of the same sort as at the beginning of the range")
	}
	last, _, err := r.quartzValue()
	if err != nil {
		return err
	}
	step := 1
	if !named && r.accept('/') {
		if step, err = r.step(false); err != nil {
			return err
		}
	}
	s.addRange(r.f, first, last, step)
	return nil
}

// quartzValue reads a number or a name.
func (r *reader) quartzValue() (v int, named bool, err error) {
	start := r.pos
	if word := r.word(); word != "" {
		if v, ok := r.f.byName(word); ok {
			return v, true, nil
		}
		return 0, true, r.unknown(start)
	}
	if r.peek() == '?' {
		return 0, false, r.fail(r.pos, r.pos+1, "syntax", "? may stand alone in day-of-month or day-of-week only")
	}
	if v, err = r.number("a value"); err != nil {
		return 0, false, err
	}
	return v, false, r.inRange(v, start)
}

// addFrom adds first and, if step is not 0, what follows to the end of the field.
func (s *set) addFrom(f *field, first, step int) {
	if step == 0 {
		s.bits |= 1 << first
		return
	}
	s.add(first, f.max, step)
	s.wholeDay = s.wholeDay || f == &hourField && first == 0
}

// addRange adds first to last, past the end of the field if need be.
func (s *set) addRange(f *field, first, last, step int) {
	s.wholeDay = s.wholeDay || f == &hourField && first == 0 && last == f.max
	size := f.max - f.min + 1
	if last < first {
		last += size
	}
	for v := first; v <= last; v += step {
		s.bits |= 1 << (f.min + (v-f.min)%size)
	}
}
