package cron

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

var (
	gaps     = []DSTGap{Skip, Shift}
	overlaps = []DSTOverlap{First, Second, Both}
)

// changes finds when a zone's offset changes, hour by hour and then by the minute.
func changes(loc *time.Location, first, last int64) (found []int64) {
	offset := func(at int64) int {
		_, o := time.Unix(at, 0).In(loc).Zone()
		return o
	}
	for at := first; at < last; at += 3600 {
		if offset(at) == offset(at+3600) {
			continue
		}
		exact := at
		for offset(exact) == offset(at) {
			exact += 60
		}
		found = append(found, exact)
	}
	return found
}

func TestEveryChangeOfTheClocks(t *testing.T) {
	zones := []string{
		"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Asia/Tehran", "Pacific/Apia",
		"America/Sao_Paulo", "Asia/Beirut", "Antarctica/Troll", "Africa/Casablanca", "Asia/Pyongyang",
	}
	exprs := []string{
		"30 2 * * *", "0 0 * * *", "30 0 * * *", "*/10 1-3 * * *", "*/20 2 * * *", "0,30 0,1,2,3,23 * * *", "30 * * * *", "*/5 * * * *", "*/7 */3 * * *", "0 */2 * * *",
		"0 0/12 * * *", "15 0-23/2 * * *", "15 0-22/2 * * *", "59 23 * * *", "30 2 * * 0", "0 0 1 * *", "*/13 0,2 1-7 3,10 SUN", "17 0-23 * * *", "0 12 30 * *", "*/15 23,0 * * *",
	}
	first := time.Date(1996, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	last := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	oracles := make([]*oracle, len(exprs))
	for i, expr := range exprs {
		oracles[i] = newOracle(t, expr)
	}
	for _, zone := range zones {
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			loc := mustLoad(t, zone)
			all := changes(loc, first, last)
			if len(all) == 0 {
				t.Fatal("the clocks of this zone never change")
			}
			t.Logf("%d changes", len(all))
			for _, at := range all {
				const before, after = 30 * 3600, 54 * 3600
				m := walk(loc, at-before-2*secondsADay, at+after+2*secondsADay)
				for i, expr := range exprs {
					checkChange(t, oracles[i], m, expr, zone, at-before, at+after)
				}
			}
		})
	}
}

// checkChange compares all fires from first up to last under each choice, also when the search begins in between.
func checkChange(t *testing.T, o *oracle, m minutes, expr, zone string, first, last int64) {
	t.Helper()
	for _, gap := range gaps {
		for _, overlap := range overlaps {
			table := mustCompile(t, expr, zone, gap, overlap)
			want := within(o.fires(m, gap, overlap), first, last)
			if got := chain(t, table, first, last); !slices.Equal(got, want) {
				t.Errorf("%s, %s, gap %s, overlap %s:\n%s", expr, zone, gap, overlap, diff(table, got, want))
			}
			for from := first + 7*60; from < last; from += 187 * 60 {
				i, _ := slices.BinarySearch(want, from+1)
				if i == len(want) {
					break
				}
				if got, ok := table.Next(from * 1000); !ok || got != want[i]*1000 {
					t.Errorf("%s, %s, gap %s, overlap %s: after %s comes %s, want %s", expr, zone, gap, overlap, table.Local(from*1000), table.Local(got), table.Local(want[i]*1000))
				}
			}
		}
	}
}

func diff(table *Timetable, got, want []int64) (text string) {
	for _, at := range got {
		if !slices.Contains(want, at) {
			text += fmt.Sprintf("  too much: %s\n", table.Local(at*1000))
		}
	}
	for _, at := range want {
		if !slices.Contains(got, at) {
			text += fmt.Sprintf("  missing: %s\n", table.Local(at*1000))
		}
	}
	return text
}

// Each case says what the fires of one or two days are, on the clock on the wall.
func TestChangesOfTheClockInWords(t *testing.T) {
	for _, c := range []struct {
		expr, zone string
		gap        DSTGap
		overlap    DSTOverlap
		from       string
		want       []string // local time, then the note
	}{
		{"30 2 * * *", "Europe/Berlin", Shift, First, "2027-03-27T12:00:00Z", []string{"2027-03-28T03:30:00+02:00", "02:30 does not exist on this day: shifted to 03:30", "2027-03-29T02:30:00+02:00", ""}},
		{"30 2 * * *", "Europe/Berlin", Skip, First, "2027-03-27T12:00:00Z", []string{"2027-03-29T02:30:00+02:00", ""}},
		{"30 2,3 * * *", "Europe/Berlin", Shift, First, "2027-03-27T12:00:00Z", []string{"2027-03-28T03:30:00+02:00", "02:30 does not exist on this day: falls together with 03:30", "2027-03-29T02:30:00+02:00", ""}},
		{"0,40 2,3 * * *", "Europe/Berlin", Shift, First, "2027-03-27T12:00:00Z", []string{"2027-03-28T03:00:00+02:00", "02:00 does not exist on this day: falls together with 03:00", "2027-03-28T03:40:00+02:00", "02:40 does not exist on this day: falls together with 03:40"}},
		{"30 2 * * *", "Europe/Berlin", Shift, First, "2027-10-30T12:00:00Z", []string{"2027-10-31T02:30:00+02:00", "first 02:30 of this day", "2027-11-01T02:30:00+01:00", ""}},
		{"30 2 * * *", "Europe/Berlin", Shift, Second, "2027-10-30T12:00:00Z", []string{"2027-10-31T02:30:00+01:00", "second 02:30 of this day", "2027-11-01T02:30:00+01:00", ""}},
		{"30 2 * * *", "Europe/Berlin", Shift, Both, "2027-10-30T12:00:00Z", []string{"2027-10-31T02:30:00+02:00", "first 02:30 of this day", "2027-10-31T02:30:00+01:00", "second 02:30 of this day", "2027-11-01T02:30:00+01:00", ""}},
		// Hours that cover the whole day follow the time that passes, whatever the choices are.
		{"30 * * * *", "Europe/Berlin", Skip, First, "2027-10-31T00:00:00Z", []string{"2027-10-31T02:30:00+02:00", "first 02:30 of this day", "2027-10-31T02:30:00+01:00", "second 02:30 of this day", "2027-10-31T03:30:00+01:00", ""}},
		{"30 * * * *", "Europe/Berlin", Shift, First, "2027-03-28T00:00:00Z", []string{"2027-03-28T01:30:00+01:00", "", "2027-03-28T03:30:00+02:00", "", "2027-03-28T04:30:00+02:00", ""}},
		{"0 */2 * * *", "Europe/Berlin", Shift, First, "2027-03-27T22:59:00Z", []string{"2027-03-28T00:00:00+01:00", "", "2027-03-28T04:00:00+02:00", ""}},
		{"0 */2 * * *", "Europe/Berlin", Shift, First, "2027-10-30T21:59:00Z", []string{"2027-10-31T00:00:00+02:00", "", "2027-10-31T02:00:00+02:00", "first 02:00 of this day", "2027-10-31T02:00:00+01:00", "second 02:00 of this day", "2027-10-31T04:00:00+01:00", ""}},
		{"0 0-22/2 * * *", "Europe/Berlin", Shift, First, "2027-03-27T22:59:00Z", []string{"2027-03-28T00:00:00+01:00", "", "2027-03-28T03:00:00+02:00", "02:00 does not exist on this day: shifted to 03:00", "2027-03-28T04:00:00+02:00", ""}},
		// Half an hour.
		{"*/20 2 * * *", "Australia/Lord_Howe", Shift, First, "2027-10-02T12:00:00Z", []string{"2027-10-03T02:30:00+11:00", "02:00 does not exist on this day: shifted to 02:30", "2027-10-03T02:40:00+11:00", "", "2027-10-03T02:50:00+11:00", "02:20 does not exist on this day: shifted to 02:50", "2027-10-04T02:00:00+11:00", ""}},
		{"45 1 * * *", "Australia/Lord_Howe", Shift, Second, "2027-04-03T12:00:00Z", []string{"2027-04-04T01:45:00+10:30", "second 01:45 of this day"}},
		// Midnight.
		{"0 0 * * *", "America/Havana", Shift, First, "2027-03-13T12:00:00Z", []string{"2027-03-14T01:00:00-04:00", "00:00 does not exist on this day: shifted to 01:00", "2027-03-15T00:00:00-04:00", ""}},
		{"0 0 14 3 *", "America/Havana", Skip, First, "2027-03-13T12:00:00Z", []string{"2028-03-14T00:00:00-04:00", ""}},
		{"30 0 * * *", "America/Havana", Shift, Both, "2027-11-06T12:00:00Z", []string{"2027-11-07T00:30:00-04:00", "first 00:30 of this day", "2027-11-07T00:30:00-05:00", "second 00:30 of this day"}},
		// A day that never was.
		{"0 10 * * *", "Pacific/Apia", Shift, First, "2011-12-29T12:00:00Z", []string{"2011-12-29T10:00:00-10:00", "", "2011-12-31T10:00:00+14:00", "2011-12-30 10:00 does not exist: falls together with 2011-12-31 10:00", "2012-01-01T10:00:00+14:00", ""}},
		{"0 10 30 * *", "Pacific/Apia", Shift, First, "2011-12-01T12:00:00Z", []string{"2011-12-31T10:00:00+14:00", "2011-12-30 10:00 does not exist: shifted to 2011-12-31 10:00", "2012-01-30T10:00:00+14:00", ""}},
		{"0 10 30 * *", "Pacific/Apia", Skip, First, "2011-12-01T12:00:00Z", []string{"2012-01-30T10:00:00+14:00", ""}},
		// A change that is no summer time: half an hour back at 23:30 on 2018-05-04 in the other direction.
		{"45 23 * * *", "Asia/Pyongyang", Shift, First, "2018-05-04T00:00:00Z", []string{"2018-05-05T00:15:00+09:00", "2018-05-04 23:45 does not exist: shifted to 2018-05-05 00:15", "2018-05-05T23:45:00+09:00", ""}},
	} {
		table := mustCompile(t, c.expr, c.zone, c.gap, c.overlap)
		at := instant(t, c.from)
		var got []string
		for range len(c.want) / 2 {
			at, _ = table.Next(at)
			got = append(got, table.Local(at), table.Note(at))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s, %s, gap %s, overlap %s, from %s:\ngot  %q\nwant %q", c.expr, c.zone, c.gap, c.overlap, c.from, got, c.want)
		}
	}
}

func instant(t testing.TB, s string) int64 {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at.UnixMilli()
}

func TestWhatIsLeftOutIsSaid(t *testing.T) {
	for _, c := range []struct {
		expr string
		gap  DSTGap
		want string
	}{
		{"30 2 * * *", Skip, "2027-03-28 02:30 does not exist: left out"},
		{"30 2 * * *", Shift, ""},
		{"30 4 * * *", Skip, ""},
		{"30 2 27,29 * *", Skip, ""},
		{"0 */2 * * *", Shift, "2027-03-28 02:00 does not exist: left out"},
		{"0 */3 * * *", Shift, ""},
		{"0 * * * *", Skip, ""},
	} {
		table := mustCompile(t, c.expr, "Europe/Berlin", c.gap, First)
		if got := table.NoteBetween(instant(t, "2027-03-27T20:00:00Z"), instant(t, "2027-03-29T20:00:00Z")); got != c.want {
			t.Errorf("%s, gap %s: %q, want %q", c.expr, c.gap, got, c.want)
		}
		if got := table.NoteBetween(instant(t, "2027-04-01T00:00:00Z"), instant(t, "2027-09-01T00:00:00Z")); got != "" {
			t.Errorf("%s, gap %s: %q in summer", c.expr, c.gap, got)
		}
	}
	if got := compiled(t, Spec{EveryMs: 5000}).NoteBetween(0, instant(t, "2027-04-01T00:00:00Z")); got != "" {
		t.Errorf("an interval leaves out %q", got)
	}
}

func compiled(t testing.TB, s Spec) *Timetable {
	t.Helper()
	table, err := Compile(s, "Europe/Berlin", "", "")
	if err != nil {
		t.Fatal(err)
	}
	return table
}
