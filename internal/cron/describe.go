package cron

import (
	"fmt"
	"math/bits"
	"strings"
	"time"
)

// Describe says in words when the schedule fires: "At 09:30 on Monday to Friday, Europe/Berlin".
func (t *Timetable) Describe() string {
	switch {
	case t.every != 0:
		return t.describeEvery()
	case t.fields == nil:
		second := floorDiv(t.at, 1000)
		wall := second + t.zone.offsets[t.zone.segment(second)]
		return fmt.Sprintf("Once, at %s, %s", dateAndClock(wall), t.zone.name)
	}
	words := t.fields.timeWords()
	for _, more := range []string{t.fields.dayWords(), t.fields.monthWords(), t.fields.yearWords()} {
		if more != "" {
			words += " " + more
		}
	}
	return words + ", " + t.zone.name
}

func (t *Timetable) describeEvery() string {
	words := "Every " + duration(t.every)
	if t.anchor != 0 {
		second := floorDiv(t.anchor, 1000)
		wall := second + t.zone.offsets[t.zone.segment(second)]
		words += fmt.Sprintf(", counted from %s, %s", dateAndClock(wall), t.zone.name)
	}
	return words
}

// duration writes 1 hour 30 minutes.
func duration(ms int64) string {
	var words []string
	for _, unit := range []struct {
		size int64
		name string
	}{{24 * time.Hour.Milliseconds(), "day"}, {time.Hour.Milliseconds(), "hour"}, {60_000, "minute"}, {1000, "second"}, {1, "millisecond"}} {
		if n := ms / unit.size; n > 0 {
			ms -= n * unit.size
			words = append(words, plural(n, unit.name))
		}
	}
	if len(words) == 1 {
		return strings.TrimPrefix(words[0], "1 ")
	}
	return strings.Join(words, " ")
}

func plural(n int64, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

const (
	allSixty = 1<<60 - 1
	allHours = 1<<24 - 1
	// mostTimes is how many times of day a description lists one by one.
	mostTimes = 6
)

// timeWords describes second, minute and hour.
func (f *fields) timeWords() string {
	n := bits.OnesCount64(f.second) * bits.OnesCount64(f.minute) * bits.OnesCount32(f.hour)
	if n <= mostTimes && f.hour != allHours {
		return "At " + join(f.times())
	}
	if f.second == 1 {
		return withinWords(f.minute, "minute") + f.hourWords()
	}
	return withinWords(f.second, "second") + f.minuteWords() + f.hourWords()
}

// minuteWords describes minutes after seconds.
func (f *fields) minuteWords() string {
	_, even := evenStep(f.second, 60)
	if f.minute == allSixty {
		if even {
			return ""
		}
		return " of every minute"
	}
	if step, ok := evenStep(f.minute, 60); ok {
		return " of every " + ordinal(step) + " minute"
	}
	return " of " + listWords(f.minute, "minute")
}

// listWords writes minute 5, minutes 5 and 10, minutes 5 to 10.
func listWords(set uint64, unit string) string {
	if bits.OnesCount64(set) > 1 {
		unit += "s"
	}
	return unit + " " + join(valuesOf(set, nil))
}

// times lists the times of day.
func (f *fields) times() []string {
	var times []string
	for at, ok := f.timeFrom(0); ok; at, ok = f.timeFrom(at + 1) {
		times = append(times, clock(int64(at)))
	}
	return times
}

// withinWords describes the seconds of a minute or the minutes of an hour.
func withinWords(set uint64, unit string) string {
	if set == allSixty {
		return "Every " + unit
	}
	if step, ok := evenStep(set, 60); ok {
		return fmt.Sprintf("Every %d %ss", step, unit)
	}
	return "At " + listWords(set, unit)
}

// evenStep finds the n of a set that is 0, n, 2n, … up to the size, when the size is a multiple of n.
func evenStep(set uint64, size int) (int, bool) {
	if set&1 == 0 || bits.OnesCount64(set) < 2 {
		return 0, false
	}
	n := bits.TrailingZeros64(set &^ 1)
	if size%n != 0 {
		return 0, false
	}
	var want uint64
	for v := 0; v < size; v += n {
		want |= 1 << v
	}
	return n, set == want
}

// hourWords describes hours after seconds or minutes.
func (f *fields) hourWords() string {
	if f.hour == allHours {
		if _, even := evenStep(f.minute, 60); even || f.minute == allSixty {
			return ""
		}
		return " of every hour"
	}
	if step, ok := evenStep(uint64(f.hour), 24); ok {
		return fmt.Sprintf(" of every %s hour from 00:00 on", ordinal(step))
	}
	return " of " + listWords(uint64(f.hour), "hour")
}

var (
	longDays   = []string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}
	longMonths = []string{"", "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"}
	ordinals   = []string{"", "first", "second", "third", "fourth", "fifth"}
)

// dayWords describes the days; empty when it is every day.
func (f *fields) dayWords() string {
	d := &f.days
	everyDay, everyWeekday := d.dom == 1<<32-2, d.dow == 0x7f
	switch d.kind {
	case dayOfMonth:
		return monthDayWords(d.dom)
	case dayOfWeek:
		return weekdayWords(d.dow)
	case dayOrWeekday:
		if everyDay || everyWeekday {
			return ""
		}
		return monthDayWords(d.dom) + " or " + weekdayWords(d.dow)
	case dayAndWeekday:
		if everyDay || everyWeekday {
			return strings.TrimSpace(monthDayWords(d.dom) + weekdayWords(d.dow))
		}
		return monthDayWords(d.dom) + " if it is " + strings.TrimPrefix(weekdayWords(d.dow), "on ")
	case nthWeekday:
		return "on the " + ordinals[d.n] + " " + longDays[bits.TrailingZeros8(d.dow)] + " of the month"
	case lastWeekday:
		return "on the last " + longDays[bits.TrailingZeros8(d.dow)] + " of the month"
	case lastOfMonth:
		return "on " + lastDayWords(int(d.n))
	case lastNearWeekday:
		return "on the weekday nearest to " + lastDayWords(int(d.n))
	}
	return fmt.Sprintf("on the weekday nearest to day %d of the month", d.n)
}

func lastDayWords(before int) string {
	switch before {
	case 0:
		return "the last day of the month"
	case 1:
		return "the day before the last day of the month"
	}
	return fmt.Sprintf("the day %d days before the last day of the month", before)
}

func monthDayWords(set uint32) string {
	if set == 1<<32-2 {
		return ""
	}
	return "on " + listWords(uint64(set), "day") + " of the month"
}

func weekdayWords(set uint8) string {
	if set == 0x7f {
		return ""
	}
	if set&1 != 0 && set&(1<<6) != 0 && set != 1|1<<6 { // name Sunday last: Friday to Sunday
		return "on " + join(valuesOf(uint64(set&^1)|1<<7, append(longDays[:7:7], "Sunday")))
	}
	if set == 1|1<<6 {
		return "on Saturday and Sunday"
	}
	return "on " + join(valuesOf(uint64(set), longDays))
}

func (f *fields) monthWords() string {
	if f.month == 1<<13-2 {
		return ""
	}
	return "in " + join(valuesOf(uint64(f.month), longMonths))
}

func (f *fields) yearWords() string {
	if f.anyYear {
		return ""
	}
	var values []string
	for y, ok := f.yearFrom(FirstYear); ok; {
		last := y
		next, more := f.yearFrom(last + 1)
		for more && next == last+1 {
			last = next
			next, more = f.yearFrom(last + 1)
		}
		values = appendSpan(values, fmt.Sprint(y), fmt.Sprint(last), last-y)
		y, ok = next, more
	}
	const most = 8
	if len(values) > most {
		values = append(values[:most:most], "more years")
	}
	return "in " + join(values)
}

// valuesOf lists the values of a set, three or more in a row as "a to b". names may be nil.
func valuesOf(set uint64, names []string) []string {
	name := func(v int) string {
		if names == nil {
			return fmt.Sprint(v)
		}
		return names[v]
	}
	var values []string
	for set != 0 {
		first := bits.TrailingZeros64(set)
		run := bits.TrailingZeros64(^(set >> first))
		values = appendSpan(values, name(first), name(first+run-1), run-1)
		set &^= (1<<run - 1) << first
	}
	return values
}

// appendSpan adds the values from first to last, which is that many values later.
func appendSpan(values []string, first, last string, later int) []string {
	switch later {
	case 0:
		return append(values, first)
	case 1:
		return append(values, first, last)
	}
	return append(values, first+" to "+last)
}

// join writes a, b and c.
func join(values []string) string {
	if n := len(values); n > 1 {
		return strings.Join(values[:n-1], ", ") + " and " + values[n-1]
	}
	return strings.Join(values, "")
}

// ordinal writes 2nd, 3rd, 4th.
func ordinal(n int) string {
	switch n {
	case 2:
		return "2nd"
	case 3:
		return "3rd"
	}
	return fmt.Sprintf("%dth", n)
}
