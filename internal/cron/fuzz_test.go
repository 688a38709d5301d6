package cron

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// Whatever is accepted fires at ever later instants, and the clock on the wall shows what the expression names.
func FuzzExpression(f *testing.F) {
	for i, expr := range hardCases {
		f.Add(expr, uint8(i), int64(1_700_000_000_000)+int64(i)*86_400_000*37)
	}
	for _, expr := range []string{"*/5 * * * *", "30 2 * * *", "0 0 13 * FRI", "0 */2 * * *", "@every 90s", "@daily", "0-30/7 9-17 1,15 * SUN", "61 * * * *", "\x00", "0 0 31 2 *", "0 0 * * täg"} {
		f.Add(expr, uint8(len(expr)), int64(1_800_000_000_000))
	}
	zones := []string{"UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Havana", "Pacific/Apia"}
	f.Fuzz(func(t *testing.T, expr string, choice uint8, from int64) {
		spec := Spec{Cron: expr, Dialect: []Dialect{Auto, Unix, Quartz}[choice%3]}
		zone, gap, overlap := zones[choice/3%5], gaps[choice/15%2], overlaps[choice/30%3]
		table, err := Compile(spec, zone, gap, overlap)
		if err != nil {
			checkError(t, expr, err)
			return
		}
		if table.Describe() == "" || strings.Contains(table.Describe(), "  ") {
			t.Errorf("%q: %q", expr, table.Describe())
		}
		at := from
		for range 8 {
			next, ok := table.Next(at)
			if !ok {
				break
			}
			if next <= at || next < 0 {
				t.Fatalf("%q: after %d comes %d", expr, at, next)
			}
			if table.fields != nil {
				checkFire(t, table, mustLoad(t, zone), next)
			}
			_ = table.Note(next) + table.NoteBetween(at, next)
			at = next
		}
	})
}

func checkError(t *testing.T, expr string, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Field == "" || e.Rule == "" || e.Message == "" {
		t.Fatalf("%q: %#v", expr, err)
	}
	if e.Expr == "" {
		return
	}
	if e.Expr != expr || e.Pos < 0 || e.Len < 1 || e.Pos+e.Len > len(expr) {
		t.Fatalf("%q: place %d, %d", expr, e.Pos, e.Len)
	}
	line, under, ok := strings.Cut(e.Caret(), "\n")
	if !ok || strings.ContainsAny(line, "\n\r\t\x00") || strings.Trim(under, " ^") != "" || len(under) > len(expr) {
		t.Fatalf("%q: %q", expr, e.Caret())
	}
}

// checkFire looks at a fire through package time and, for the days, at the whole month.
func checkFire(t *testing.T, table *Timetable, loc *time.Location, at int64) {
	t.Helper()
	instant := time.UnixMilli(at).In(loc)
	if at%1000 == 0 && shows(table.fields, instant) {
		return
	}
	start, _ := instant.ZoneBounds()
	if start.IsZero() || !table.shift || table.fields.followsTime {
		t.Fatalf("%s: fires at %s", table.Describe(), instant)
	}
	_, before := start.Add(-time.Second).Zone()
	if old := instant.In(time.FixedZone("before", before)); !shows(table.fields, old) || instant.Sub(start) >= 25*time.Hour {
		t.Fatalf("%s: fires at %s", table.Describe(), instant)
	}
}

func shows(f *fields, at time.Time) bool {
	year := at.Year()
	if !f.anyYear && (year > LastYear || f.years[(year-FirstYear)/64]>>((year-FirstYear)%64)&1 == 0) {
		return false
	}
	return f.second>>at.Second()&1 != 0 && f.minute>>at.Minute()&1 != 0 && f.hour>>at.Hour()&1 != 0 && f.month>>at.Month()&1 != 0 && slowDay(f, at)
}

// slowDay is days.in for one day, told by going through the month.
func slowDay(f *fields, at time.Time) bool {
	d := f.days
	weekday := func(day int) time.Weekday {
		return time.Date(at.Year(), at.Month(), day, 12, 0, 0, 0, time.UTC).Weekday()
	}
	isDay, isWeekday := d.dom>>at.Day()&1 != 0, d.dow>>weekday(at.Day())&1 != 0
	last := time.Date(at.Year(), at.Month()+1, 0, 12, 0, 0, 0, time.UTC).Day()
	switch d.kind {
	case dayOfMonth:
		return isDay
	case dayOfWeek:
		return isWeekday
	case dayOrWeekday:
		return isDay || isWeekday
	case dayAndWeekday:
		return isDay && isWeekday
	case nthWeekday:
		return isWeekday && (at.Day()+6)/7 == int(d.n)
	case lastWeekday:
		return isWeekday && at.Day()+7 > last
	case lastOfMonth:
		return at.Day() == last-int(d.n)
	}
	wanted := int(d.n)
	if d.kind == lastNearWeekday {
		wanted = last - wanted
	}
	if wanted > last {
		return wanted == last+1 && at.Day() == last && at.Weekday() == time.Friday
	}
	working := func(day int) bool {
		return day >= 1 && day <= last && weekday(day) != time.Saturday && weekday(day) != time.Sunday
	}
	for _, by := range []int{0, -1, 1, -2, 2} {
		if working(wanted + by) {
			return at.Day() == wanted+by
		}
	}
	return false
}

func FuzzZone(f *testing.F) {
	for _, zone := range []string{"", "UTC", "Europe/Berlin", "Local", "../UTC", "right/UTC", "Etc/GMT+5", "\x00"} {
		f.Add(zone)
	}
	f.Fuzz(func(t *testing.T, zone string) {
		table, err := Compile(Spec{Cron: "30 2 * * *"}, zone, "", "")
		if err != nil {
			refused{Spec{}, "zone", "unknown", "", "", ""}.check(t, err)
			return
		}
		if strings.Contains(zone, "..") || strings.EqualFold(zone, "local") || strings.HasPrefix(zone, "/") {
			t.Errorf("%q is accepted", zone)
		}
		if at, ok := table.Next(1_800_000_000_000); !ok || at > 1_800_000_000_000+48*3_600_000 {
			t.Errorf("%q: %d %v", zone, at, ok)
		}
	})
}
