package cron

import "math/bits"

const secondsADay = 86_400

// fields are the values of an expression, as sets of bits.
type fields struct {
	second, minute uint64
	hour           uint32
	month          uint16 // bits 1 to 12
	days           days
	anyYear        bool
	years          [(LastYear - FirstYear + 64) / 64]uint64 // bit 0 is FirstYear
	followsTime    bool                                     // the hour field is *, or a step over the whole day
}

// addYears adds those years up to last, each step, that lie within FirstYear and LastYear.
func (f *fields) addYears(first, last, step int) {
	for y := first; y <= min(last, LastYear); y += step {
		f.years[(y-FirstYear)/64] |= 1 << ((y - FirstYear) % 64)
	}
}

// yearFrom gives the first year of the expression that is not before y.
func (f *fields) yearFrom(y int) (int, bool) {
	y = max(y, FirstYear)
	if f.anyYear {
		return y, y <= LastYear
	}
	for y <= LastYear {
		word := f.years[(y-FirstYear)/64] >> ((y - FirstYear) % 64)
		if word != 0 {
			return y + bits.TrailingZeros64(word), true
		}
		y += 64 - (y-FirstYear)%64
	}
	return 0, false
}

// next gives the first wall time that is not before wall and that the fields name. Wall times are seconds since 1970-01-01 00:00
// on the clock on the wall.
func (f *fields) next(wall int64) (int64, bool) {
	day := floorDiv(wall, secondsADay)
	y, m, d := dateOf(day)
	found, ok := f.nextDay(y, m, d)
	if !ok {
		return 0, false
	}
	if found == day {
		if second, ok := f.timeFrom(int(wall - day*secondsADay)); ok {
			return day*secondsADay + int64(second), true
		}
		y, m, d = dateOf(day + 1)
		if found, ok = f.nextDay(y, m, d); !ok {
			return 0, false
		}
	}
	second, _ := f.timeFrom(0)
	return found*secondsADay + int64(second), true
}

// timeFrom gives the first time of day, in seconds, that is not before second.
func (f *fields) timeFrom(second int) (int, bool) {
	h, m, s := second/3600, second/60%60, second%60
	if f.hour>>h&1 != 0 {
		if f.minute>>m&1 != 0 {
			if rest := f.second >> s; rest != 0 {
				return h*3600 + m*60 + s + bits.TrailingZeros64(rest), true
			}
		}
		if rest := f.minute >> (m + 1); rest != 0 {
			m += 1 + bits.TrailingZeros64(rest)
			return h*3600 + m*60 + bits.TrailingZeros64(f.second), true
		}
	}
	rest := f.hour >> (h + 1)
	if rest == 0 {
		return 0, false
	}
	h += 1 + bits.TrailingZeros32(rest)
	return h*3600 + bits.TrailingZeros64(f.minute)*60 + bits.TrailingZeros64(f.second), true
}

// nextDay gives the first day, since 1970-01-01, that is not before the date. It looks at one month after another, and only at
// those that the expression names.
func (f *fields) nextDay(y, m, d int) (int64, bool) {
	for {
		year, ok := f.yearFrom(y)
		if !ok {
			return 0, false
		}
		if year != y {
			y, m, d = year, 1, 1
		}
		for m <= 12 {
			rest := f.month >> m
			if rest == 0 {
				break
			}
			if skip := bits.TrailingZeros16(rest); skip > 0 {
				m, d = m+skip, 1
			}
			first := dayOf(y, m, 1)
			if set := f.days.in(y, m, first, f.month) >> d; set != 0 {
				return first + int64(d+bits.TrailingZeros32(set)) - 1, true
			}
			m, d = m+1, 1
		}
		y, m, d = y+1, 1, 1
	}
}

// dayOf counts the days from 1970-01-01 to a date. Years begin in March here, so that the leap day is the last one.
func dayOf(y, m, d int) int64 {
	if m <= 2 {
		y, m = y-1, m+12
	}
	era := int64(y)*365 + floorDiv(int64(y), 4) - floorDiv(int64(y), 100) + floorDiv(int64(y), 400)
	return era + int64((153*(m-3)+2)/5) + int64(d) - 1 - 719_468
}

// dateOf is the date of a day.
func dateOf(day int64) (y, m, d int) {
	const (
		daysIn400 = 146_097
		daysIn100 = 36_524
		daysIn4   = 1_461
	)
	day += 719_468 // since 0000-03-01
	era := floorDiv(day, daysIn400)
	rest := day - era*daysIn400
	year := (rest - rest/(daysIn4-1) + rest/daysIn100 - rest/(daysIn400-1)) / 365
	rest -= year*365 + year/4 - year/100
	month := (5*rest + 2) / 153 // 0 is March
	d = int(rest-(153*month+2)/5) + 1
	y, m = int(year+era*400), int(month)+3
	if m > 12 {
		y, m = y+1, m-12
	}
	return y, m, d
}

// weekdayOf is the day of the week; 0 is Sunday.
func weekdayOf(day int64) int {
	return int(((day+4)%7 + 7) % 7)
}

// daysIn is the length of a month.
func daysIn(y, m int) int {
	switch m {
	case 2:
		if y%4 == 0 && (y%100 != 0 || y%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
