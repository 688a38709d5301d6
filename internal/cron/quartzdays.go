package cron

// quartzDays reads day-of-month; free tells that it is ?.
func (r *reader) quartzDays(d *days) (free bool, err error) {
	switch {
	case r.peek() == '?':
		r.pos++
		return true, r.alone("?")
	case r.peek() == 'L':
		return false, r.lastDay(d)
	}
	start := r.pos
	if c := r.peek(); c >= '0' && c <= '9' {
		n, err := r.number("a value")
		if err != nil {
			return false, err
		}
		if r.peek() == 'W' {
			if err := r.inRange(n, start); err != nil {
				return false, err
			}
			r.pos++
			d.kind, d.n = nearWeekday, int8(n)
			return false, r.alone("W")
		}
		r.pos = start
	}
	var s set
	if err := r.quartzListWithout(&s, 'W', 'L'); err != nil {
		return false, err
	}
	d.kind, d.dom = dayOfMonth, uint32(s.bits)
	return false, nil
}

// lastDay reads L, LW, L-n and L-nW.
func (r *reader) lastDay(d *days) error {
	r.pos++
	d.kind = lastOfMonth
	if r.accept('-') {
		start := r.pos
		n, err := r.number("the number of days before the last one")
		if err != nil {
			return err
		}
		if n > 30 {
			return r.fail(start, r.pos, "range", "at most 30 days before the last day of a month, not %s", clip(r.p.expr[start:r.pos]))
		}
		d.n = int8(n)
	}
	if r.accept('W') {
		d.kind = lastNearWeekday
	}
	return r.alone("L")
}

// alone refuses a list, or anything else, after what cannot stand in one.
func (r *reader) alone(what string) error {
	if err := r.itemDone(); err != nil {
		return err
	}
	if r.pos < r.end {
		return r.fail(r.pos, r.end, "syntax", "%s cannot stand in a list", what)
	}
	return nil
}

// quartzListWithout reads a list and explains that some letters cannot stand in one.
func (r *reader) quartzListWithout(s *set, letters ...byte) error {
	return r.list(func() error {
		if err := r.quartzItemOf(s, letters); err != nil {
			return err
		}
		for _, c := range letters {
			if r.peek() == c {
				return r.fail(r.pos, r.itemEnd(), "syntax", "%c stands after one number, alone in its field", c)
			}
		}
		return nil
	})
}

// quartzItemOf is quartzItem for an item that may begin with one of the letters by mistake.
func (r *reader) quartzItemOf(s *set, letters []byte) error {
	for _, c := range letters {
		if next := r.pos + 1; r.peek() == c && (next >= r.end || upper(r.p.expr[next]) < 'A' || upper(r.p.expr[next]) > 'Z') {
			return r.fail(r.pos, r.itemEnd(), "syntax", "%c stands after one number or alone, not in a list", c)
		}
	}
	return r.quartzItem(s)
}

// quartzWeekdays reads day-of-week; free tells that it is ?.
func (r *reader) quartzWeekdays(d *days) (free bool, err error) {
	if r.accept('?') {
		return true, r.alone("?")
	}
	if special, err := r.specialWeekday(d); special || err != nil {
		return false, err
	}
	var s set
	if err := r.quartzListWithout(&s, '#', 'L'); err != nil {
		return false, err
	}
	if d.kind == noDays {
		d.kind = dayOfWeek
	}
	d.dow = uint8(s.bits >> 1) // 1 is Sunday
	return false, nil
}

// specialWeekday reads L, 6L, FRIL, 6#3 and FRI#3. If it is none of them, r stands where it stood.
func (r *reader) specialWeekday(d *days) (special bool, err error) {
	start := r.pos
	day, bare := r.weekdayBefore()
	c := r.peek()
	if c != '#' && c != 'L' || c == '#' && bare {
		r.pos = start
		return false, nil
	}
	if bare { // L alone is the last day of the week
		r.pos++
		d.kind, d.dow = dayOfWeek, 1<<6
		return true, r.alone("L")
	}
	if err := r.inRange(day, start); err != nil {
		return true, err
	}
	r.pos++
	d.kind, d.dow = lastWeekday, 1<<(day-1)
	if c == 'L' {
		return true, r.alone("a day with L")
	}
	return true, r.nth(d)
}

// nth reads the n after #.
func (r *reader) nth(d *days) error {
	start := r.pos
	n, err := r.number("a number from 1 to 5")
	if err != nil {
		return err
	}
	if n < 1 || n > 5 {
		return r.fail(start, r.pos, "range", "the number after # says which one of the month: 1 to 5")
	}
	d.kind, d.n = nthWeekday, int8(n)
	return r.alone("a day with #")
}

// weekdayBefore goes past the day before # or L; bare tells that there is none. An unknown name counts as no day.
func (r *reader) weekdayBefore() (day int, bare bool) {
	start := r.pos
	if c := r.peek(); c >= '0' && c <= '9' {
		day, _ = r.number("")
		return day, false
	}
	word := r.word()
	if n := len(word); n > 0 && upper(word[n-1]) == 'L' && r.peek() != '#' {
		word = word[:n-1]
		r.pos--
	}
	if word == "" {
		return 0, true
	}
	day, ok := r.f.byName(word)
	if !ok {
		r.pos = start
		return 0, true
	}
	return day, false
}

// quartzYears reads the years.
func (r *reader) quartzYears(f *fields) error {
	f.anyYear = false
	return r.list(func() error { return r.quartzYear(f) })
}

func (r *reader) quartzYear(f *fields) error {
	first, last, step, open := FirstYear, LastYear, 1, true
	var err error
	star := r.accept('*')
	start := r.pos
	if !star && r.peek() != '/' {
		if first, _, err = r.quartzValue(); err != nil {
			return err
		}
		last, open = first, false
		if r.accept('-') {
			if last, _, err = r.quartzValue(); err != nil {
				return err
			}
			if last < first {
				return r.fail(start, r.pos, "reversed", "the range ends before it begins")
			}
		} else {
			open = r.peek() == '/'
		}
	}
	if r.accept('/') {
		if step, err = r.step(open); err != nil {
			return err
		}
		if open {
			last = LastYear
		}
	}
	f.anyYear = f.anyYear || open && first == FirstYear && step == 1
	f.addYears(first, last, step)
	return nil
}
