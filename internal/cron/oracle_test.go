package cron

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// oracle is crontab written down a second time, slowly: it looks at each minute, knows zones through package time only, and
// follows the sentences of the package's doc word by word. It takes right expressions only.
type oracle struct {
	minute, hour, day, month, weekday map[int]bool
	dayStar, weekdayStar, followsTime bool
}

func newOracle(t *testing.T, expr string) *oracle {
	t.Helper()
	f := strings.Fields(expr)
	o := &oracle{
		minute: expand(t, f[0], 0, 59, nil), hour: expand(t, f[1], 0, 23, nil), day: expand(t, f[2], 1, 31, nil),
		month:   expand(t, f[3], 1, 12, strings.Fields("- JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC")),
		weekday: expand(t, f[4], 0, 7, strings.Fields("SUN MON TUE WED THU FRI SAT")),
		dayStar: strings.HasPrefix(f[2], "*"), weekdayStar: strings.HasPrefix(f[4], "*"),
	}
	o.weekday[0] = o.weekday[0] || o.weekday[7]
	for item := range strings.SplitSeq(f[1], ",") {
		whole, _, stepped := strings.Cut(item, "/")
		o.followsTime = o.followsTime || whole == "*" || whole == "0-23" || whole == "0" && stepped
	}
	return o
}

func expand(t *testing.T, text string, least, most int, names []string) map[int]bool {
	t.Helper()
	number := func(s string) int {
		if n := slices.Index(names, strings.ToUpper(s)); n >= 0 {
			return n
		}
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	values := map[int]bool{}
	for item := range strings.SplitSeq(text, ",") {
		span, stepText, stepped := strings.Cut(item, "/")
		first, last, step := least, most, 1
		if stepped {
			step = number(stepText)
		}
		if most == 7 && (span == "*" || stepped && !strings.Contains(span, "-")) {
			last = 6
		}
		if span != "*" {
			a, b, ranged := strings.Cut(span, "-")
			first = number(a)
			switch {
			case ranged && strings.EqualFold(b, "SUN") && first > 0:
				last = 7
			case ranged:
				last = number(b)
			case !stepped || first > last:
				last = first
			}
		}
		for v := first; v <= last; v += step {
			values[v] = true
		}
	}
	return values
}

// names tells whether the expression names what a clock shows; wall is that, as if it were UTC.
func (o *oracle) names(wall time.Time) bool {
	if !o.minute[wall.Minute()] || !o.hour[wall.Hour()] || !o.month[int(wall.Month())] {
		return false
	}
	day, weekday := o.day[wall.Day()], o.weekday[int(wall.Weekday())]
	if o.dayStar || o.weekdayStar {
		return day && weekday
	}
	return day || weekday
}

// minutes is what a zone's clock shows, minute by minute.
type minutes struct {
	first int64   // s
	walls []int64 // s, as if it were UTC
}

func walk(loc *time.Location, first, last int64) minutes {
	m := minutes{first: first - first%60}
	for at := m.first; at <= last; at += 60 {
		_, offset := time.Unix(at, 0).In(loc).Zone()
		m.walls = append(m.walls, at+int64(offset))
	}
	return m
}

// fires applies the rules to each wall time between the first and the last.
func (o *oracle) fires(m minutes, gap DSTGap, overlap DSTOverlap) []int64 {
	shown := map[int64][]int64{}
	for i, wall := range m.walls {
		if o.names(time.Unix(wall, 0).UTC()) {
			shown[wall] = append(shown[wall], m.first+int64(i)*60)
		}
	}
	var fires []int64
	for _, at := range shown {
		switch {
		case o.followsTime || overlap == Both:
			fires = append(fires, at...)
		case overlap == Second:
			fires = append(fires, at[len(at)-1])
		default:
			fires = append(fires, at[0])
		}
	}
	if gap == Shift && !o.followsTime {
		fires = append(fires, o.shifted(m)...)
	}
	slices.Sort(fires)
	return slices.Compact(fires)
}

// shifted gives the fires of wall times that are never shown.
func (o *oracle) shifted(m minutes) (fires []int64) {
	for i := 1; i < len(m.walls); i++ {
		for missing := m.walls[i-1] + 60; missing < m.walls[i]; missing += 60 {
			if o.names(time.Unix(missing, 0).UTC()) {
				// as long after the last minute before the gap as if there were no gap
				fires = append(fires, m.first+int64(i-1)*60+missing-m.walls[i-1])
			}
		}
	}
	return fires
}

// within gives the instants from first up to last.
func within(fires []int64, first, last int64) []int64 {
	return slices.DeleteFunc(slices.Clone(fires), func(at int64) bool { return at < first || at > last })
}

// chain asks a timetable for all fires from first up to last.
func chain(t *testing.T, table *Timetable, first, last int64) (fires []int64) {
	t.Helper()
	for at := first*1000 - 1; ; {
		next, ok := table.Next(at)
		if !ok || next > last*1000 {
			return fires
		}
		if next <= at || next%1000 != 0 {
			t.Fatalf("after %d comes %d", at, next)
		}
		fires = append(fires, next/1000)
		at = next
	}
}

func mustLoad(t testing.TB, zone string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func mustCompile(t testing.TB, expr, zone string, gap DSTGap, overlap DSTOverlap) *Timetable {
	t.Helper()
	table, err := Compile(Spec{Cron: expr}, zone, gap, overlap)
	if err != nil {
		t.Fatalf("%q: %v", expr, err)
	}
	return table
}
