package cron

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// unixExpression makes a right expression of five fields.
func (g generator) unixExpression() string {
	minute := g.unixList(0, 59, 59, nil)
	hour := g.unixList(0, 23, 23, nil)
	if g.chance(30) {
		minute = g.oneOf("0", "*/5", "*", "30")
	}
	day, weekday := g.unixList(1, 31, 31, nil), g.unixList(0, 7, 7, dayNames)
	switch g.IntN(4) {
	case 0:
		day = g.oneOf("*", "*/2", "*/3,7")
	case 1:
		weekday = g.oneOf("*", "*/2")
	case 2:
		day, weekday = "*", "*"
	}
	month := "*"
	if g.chance(30) {
		month = g.unixList(1, 12, 12, monthNames)
	}
	return strings.Join([]string{minute, hour, day, month, weekday}, " ")
}

func (g generator) unixList(least, most, step int, names []string) string {
	items := make([]string, 1+g.IntN(2)*g.IntN(3))
	for i := range items {
		items[i] = g.unixItem(least, most, step, names)
	}
	return strings.Join(items, ",")
}

func (g generator) unixItem(least, most, step int, names []string) string {
	number := func() int { return least + g.IntN(most-least+1) }
	write := func(v int) string {
		if i := v - least; names != nil && i < len(names) && g.chance(40) {
			return g.oneOf(names[i], strings.ToLower(names[i]))
		}
		return itoa(v)
	}
	steps := func() string { return "/" + itoa(1+g.IntN(step)) }
	first, last := number(), number()
	first, last = min(first, last), max(first, last)
	switch g.IntN(7) {
	case 0:
		return "*"
	case 1:
		return "*" + steps()
	case 2:
		return write(first) + steps()
	case 3:
		return write(first) + "-" + write(last)
	case 4:
		return write(first) + "-" + write(last) + steps()
	}
	return write(number())
}

func itoa(n int) string {
	if n >= 10 {
		return itoa(n/10) + itoa(n%10)
	}
	return string(rune('0' + n))
}

func TestUnixFiresAsMinuteByMinute(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia", "Asia/Tehran", "America/Havana", "Pacific/Kiritimati", "Africa/El_Aaiun"}
	g := newGenerator(*seed)
	fired := 0
	for range 250 {
		expr := g.unixExpression()
		zone, gap, overlap := zones[g.IntN(len(zones))], gaps[g.IntN(2)], overlaps[g.IntN(3)]
		first := g.start() / 60 * 60
		last := first + 40*secondsADay
		table, err := Compile(Spec{Cron: expr, Dialect: Unix}, zone, gap, overlap)
		if err != nil {
			if e := err.(*Error); e.Rule == "never" {
				continue
			}
			t.Errorf("%q: %v", expr, err)
			continue
		}
		m := walk(mustLoad(t, zone), first-2*secondsADay, last+2*secondsADay)
		want := within(newOracle(t, expr).fires(m, gap, overlap), first, last)
		if got := chain(t, table, first, last); !slices.Equal(got, want) {
			t.Errorf("%q, %s, gap %s, overlap %s, from %s:\n%s", expr, zone, gap, overlap, table.Local(first*1000), diff(table, got, want))
		}
		fired += len(want)
	}
	if fired < 10_000 {
		t.Errorf("only %d fires were compared", fired)
	}
}

// A field that begins with * does not restrict, whatever follows: then both fields must hold. Else one of them is enough.
func TestDayOfMonthOrDayOfWeek(t *testing.T) {
	for expr, want := range map[string]string{
		"0 0 13 * FRI":    "06 13 20 27", // 13th or Friday
		"0 0 13 * *":      "13",
		"0 0 * * FRI":     "06 13 20 27",
		"0 0 */2 * FRI":   "13 27",                                                                                     // odd days that are Fridays
		"0 0 */10,6 * 5":  "06",                                                                                        // 1, 6, 11, 21, 31 that are Fridays
		"0 0 13 * */2":    "",                                                                                          // the 13th if it is Sunday, Tuesday, Thursday or Saturday
		"0 0 1-31 * FRI":  "01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30", // restricted, though to all
		"0 0 13 * 0-7":    "01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30",
		"0 0 1 * 7":       "01 08 15 22 29",
		"0 0 1 * 0":       "01 08 15 22 29",
		"0 0 * * FRI-SUN": "01 06 07 08 13 14 15 20 21 22 27 28 29",
		"0 0 * * 5-7":     "01 06 07 08 13 14 15 20 21 22 27 28 29",
		"0 0 * * 3/2":     "04 06 11 13 18 20 25 27", // Wednesday and Friday: the week ends with Saturday
	} {
		table := mustCompile(t, expr, "UTC", "", "")
		var days []string
		for _, at := range chain(t, table, instant(t, "2026-11-01T00:00:00Z")/1000, instant(t, "2026-11-30T23:59:00Z")/1000) {
			days = append(days, table.Local(at * 1000)[8:10])
		}
		if got := strings.Join(days, " "); got != want {
			t.Errorf("%s: November 2026 has %s, want %s", expr, got, want)
		}
	}
}

func TestForms(t *testing.T) {
	from := instant(t, "2026-11-22T10:17:23.5Z")
	for expr, want := range map[string]string{
		"@yearly": "2027-01-01T00:00:00+01:00", "@annually": "2027-01-01T00:00:00+01:00", "@monthly": "2026-12-01T00:00:00+01:00", "@weekly": "2026-11-29T00:00:00+01:00",
		"@daily": "2026-11-23T00:00:00+01:00", " @MIDNIGHT ": "2026-11-23T00:00:00+01:00", "@hourly": "2026-11-22T12:00:00+01:00",
		"@every 1h30m": "2026-11-22T11:30:00+01:00", "@every 1.5s": "2026-11-22T11:17:24+01:00", "@Every 24h": "2026-11-23T01:00:00+01:00",
	} {
		table := mustCompile(t, expr, "Europe/Berlin", "", "")
		if at, _ := table.Next(from); table.Local(at) != want {
			t.Errorf("%s: %s, want %s", expr, table.Local(at), want)
		}
	}
}

// The same second by second, where the clock does not change: nothing fires within a minute.
func TestUnixFiresAsSecondBySecond(t *testing.T) {
	g := newGenerator(*seed)
	fired := 0
	for fired < 500 {
		expr := g.unixExpression()
		table, err := Compile(Spec{Cron: expr, Dialect: Unix}, "Asia/Kolkata", Shift, First)
		if err != nil {
			if e := err.(*Error); e.Rule == "never" {
				continue
			}
			t.Fatalf("%q: %v", expr, err)
		}
		o, loc := newOracle(t, expr), mustLoad(t, "Asia/Kolkata")
		first := time.Date(2026, time.Month(1+g.IntN(12)), 1+g.IntN(28), g.IntN(24), 0, 17, 0, loc).Unix()
		last := first + 2*secondsADay
		var want []int64
		for at := first; at <= last; at++ {
			if wall := time.Unix(at, 0).In(loc); wall.Second() == 0 && o.names(wall) {
				want = append(want, at)
			}
		}
		if got := chain(t, table, first, last); !slices.Equal(got, want) {
			t.Errorf("%q from %s:\n%s", expr, table.Local(first*1000), diff(table, got, want))
		}
		fired += len(want)
	}
}
