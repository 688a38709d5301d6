package cron

// dayKind says how an expression chooses days.
type dayKind uint8

const (
	noDays          dayKind = iota
	dayOfMonth              // dom
	dayOfWeek               // dow
	dayOrWeekday            // dom or dow: crontab, when both are restricted
	dayAndWeekday           // dom and dow: crontab, when one of them begins with *
	lastOfMonth             // L, L-n
	lastNearWeekday         // LW, L-nW
	nearWeekday             // nW
	nthWeekday              // the n-th dow of the month
	lastWeekday             // the last dow of the month
)

// days chooses the days of a month.
type days struct {
	kind dayKind
	dom  uint32 // bits 1 to 31
	dow  uint8  // bit 0 is Sunday
	n    int8
}

// in gives the days of a month as bits 1 to 31. first is the month's first day since 1970-01-01, months are those of the
// expression.
func (d *days) in(y, m int, first int64, months uint16) uint32 {
	length := daysIn(y, m)
	all := uint32(1)<<(length+1) - 2
	switch d.kind {
	case dayOfMonth:
		return d.dom & all
	case dayOfWeek:
		return d.weekdays(first) & all
	case dayOrWeekday:
		return (d.dom | d.weekdays(first)) & all
	case dayAndWeekday:
		return d.dom & d.weekdays(first) & all
	case nthWeekday:
		return d.weekdays(first) & (0x7f << (7*(d.n-1) + 1)) & all
	case lastWeekday:
		return d.weekdays(first) & all &^ (1<<(length-6) - 1)
	}
	return d.nearest(m, length, weekdayOf(first), months)
}

// weekdays gives the days that fall on dow.
func (d *days) weekdays(first int64) uint32 {
	week := uint64(d.dow) | uint64(d.dow)<<7
	week = week >> weekdayOf(first) & 0x7f // bit 0 is the month's first day
	return uint32((week | week<<7 | week<<14 | week<<21 | week<<28) << 1)
}

// nearest gives the one day that L, L-n, LW, L-nW and nW mean, or none.
func (d *days) nearest(m, length, firstWeekday int, months uint16) uint32 {
	day := int(d.n)
	if d.kind != nearWeekday {
		day = length - day
	}
	if day < 1 {
		return 0
	}
	if day > length {
		return beyond(day, m, length, firstWeekday, months)
	}
	if d.kind == lastOfMonth {
		return 1 << day
	}
	switch (firstWeekday + day - 1) % 7 {
	case 6: // Saturday
		if day == 1 {
			return 1 << 3
		}
		return 1 << (day - 1)
	case 0: // Sunday
		if day == length {
			return 1 << (day - 2)
		}
		return 1 << (day + 1)
	}
	return 1 << day
}

// beyond is nW in a month that has no day n: none, but for what Quartz does when day n would be the next month's first and a
// Saturday. The weekday nearest to that is the month's last day, and Quartz fires then. In February, however, it never gets
// there when it comes from January, because the search for "30 February" begins in March.
func beyond(day, m, length, firstWeekday int, months uint16) uint32 {
	saturday := (firstWeekday+day-1)%7 == 6
	if day != length+1 || !saturday || m == 2 && months>>1&1 != 0 {
		return 0
	}
	return 1 << length
}
