package cron

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestIntervals(t *testing.T) {
	anchor := instant(t, "2026-11-22T10:00:00.250Z")
	for _, c := range []struct {
		spec        Spec
		after, want int64
	}{
		{Spec{EveryMs: 5000}, 0, 5000},
		{Spec{EveryMs: 5000}, 4999, 5000},
		{Spec{EveryMs: 5000}, 5000, 10_000},
		{Spec{EveryMs: 5000}, -1, 0},
		{Spec{EveryMs: 5000}, math.MinInt64, 0},
		{Spec{EveryMs: 60_000, Anchor: anchor}, anchor - 1, anchor},
		{Spec{EveryMs: 60_000, Anchor: anchor}, anchor, anchor + 60_000},
		{Spec{EveryMs: 60_000, Anchor: anchor}, anchor - 60_001, anchor - 60_000},
		{Spec{EveryMs: MaxEveryMs, Anchor: anchor}, anchor + 1, anchor + MaxEveryMs},
		{Spec{Cron: "@every 1m", Anchor: anchor}, anchor + 1, anchor + 60_000},
		{Spec{EveryMs: 1000}, MaxInstant - 1000, MaxInstant - 999},
		{Spec{At: anchor}, anchor - 1, anchor},
	} {
		if got, ok := compiled(t, c.spec).Next(c.after); !ok || got != c.want {
			t.Errorf("%+v after %d: %d %v, want %d", c.spec, c.after, got, ok, c.want)
		}
	}
	for _, c := range []struct {
		spec  Spec
		after int64
	}{
		{Spec{At: anchor}, anchor}, {Spec{EveryMs: 1000}, MaxInstant}, {Spec{EveryMs: 1000}, math.MaxInt64}, {Spec{EveryMs: MaxEveryMs, Anchor: MaxInstant}, MaxInstant},
		{Spec{Cron: "* * * * *"}, math.MaxInt64}, {Spec{Cron: "* * * * *"}, 7_258_118_400_000}, {Spec{Cron: "0 0 1 1 *"}, MaxInstant - 1},
	} {
		if got, ok := compiled(t, c.spec).Next(c.after); ok {
			t.Errorf("%+v after %d: %d", c.spec, c.after, got)
		}
	}
}

// refused is a Spec, what is wrong with it, and the caret line under an expression.
type refused struct {
	spec              Spec
	field, rule, part string
	caret             string
	message           string // a part of it
}

func (r refused) check(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("%+v: %v, want an *Error", r.spec, err)
		return
	}
	_, under, _ := strings.Cut(e.Caret(), "\n")
	if e.Field != r.field || e.Rule != r.rule || e.Part != r.part || under != r.caret || !strings.Contains(e.Message, r.message) {
		t.Errorf("%+v:\ngot  %s %s %s: %s\n%s", r.spec, e.Field, e.Rule, e.Part, e.Message, e.Caret())
	}
}

func TestBadExpressions(t *testing.T) {
	for _, r := range []struct{ expr, rule, part, caret, message string }{
		{"61 * * * *", "range", "minute", "^^", "61 is out of range: 0 to 59"},
		{"* 24 * * *", "range", "hour", "  ^^", "0 to 23"},
		{"* * 0 * *", "range", "day-of-month", "    ^", "1 to 31"},
		{"* * 32 * *", "range", "day-of-month", "    ^^", "1 to 31"},
		{"* * * 13 *", "range", "month", "      ^^", "1 to 12"},
		{"* * * * 8", "range", "day-of-week", "        ^", "0 to 7"},
		{"* * * * 1-8", "range", "day-of-week", "          ^", "0 to 7"},
		{"* * * *", "fields", "", "^^^^^^^", "this has 4"},
		{"*", "fields", "", "^", "this has 1"},
		{"* * * * * * * *", "fields", "", "              ^", "this has 8"},
		{"*/0 * * * *", "step", "minute", "  ^", "goes nowhere"},
		{"*/60 * * * *", "step", "minute", "  ^^", "@every"},
		{"0 */24 * * *", "step", "hour", "    ^^", "at most 23"},
		{"5/90 * * * *", "step", "minute", "  ^^", "at most 59"},
		{"*/ * * * *", "syntax", "minute", " ^", "missing"},
		{"*/x * * * *", "syntax", "minute", "  ^", `instead of "x"`},
		{"30-10 * * * *", "reversed", "minute", "^^^^^", "ends before it begins"},
		{"0 0 * * 5-0", "reversed", "day-of-week", "        ^^^", "Sunday at the end of a range is 7"},
		{"0 0 * * FRI-MON", "reversed", "day-of-week", "        ^^^^^^^", "ends before it begins"},
		{"0 0 * FOO *", "unknown", "month", "      ^^^", "JAN, FEB"},
		{"0 0 * * MONDAY", "unknown", "day-of-week", "        ^^^^^^", "write MON"},
		{"MON * * * *", "unknown", "minute", "^^^", "no names"},
		{"0 0 L * *", "syntax", "day-of-month", "    ^", "Quartz"},
		{"0 0 15W * *", "syntax", "day-of-month", "      ^", "Quartz"},
		{"0 0 * * 5#2", "syntax", "day-of-week", "         ^^", "Quartz"},
		{"0 0 ? * 5", "syntax", "day-of-month", "    ^", "write *"},
		{"1,,2 * * * *", "syntax", "minute", "  ^", "missing"},
		{"1, * * * *", "syntax", "minute", " ^", "missing"},
		{",1 * * * *", "syntax", "minute", "^", "missing"},
		{"1-2-3 * * * *", "syntax", "minute", "   ^^", "makes no sense"},
		{"-5 * * * *", "syntax", "minute", "^^", "instead of"},
		{"5- * * * *", "syntax", "minute", " ^", "missing"},
		{"1.5 * * * *", "syntax", "minute", " ^^", "makes no sense"},
		{"99999999999999999999 * * * *", "range", "minute", "^^^^^^^^^^^^^^^^^^^^", "too large"},
		{"0 0 * * mon\x00", "syntax", "", "           ^", "ASCII"},
		{"0 0\n* * *", "syntax", "", "   ^", "one line"},
		{"0 0 * * täg", "syntax", "", "         ^", "ASCII"},
		{"\t* * * * 9", "range", "day-of-week", "         ^", "0 to 7"},
		{"   ", "required", "", "^^^", "empty"},
		{"0 0 31 2 *", "never", "", "^^^^^^^^^^", "no such time"},
		{" 0 0 30 FEB,FEB * ", "never", "", " ^^^^^^^^^^^^^^^^", "no such time"},
		{"0 0 0 30 2 ?", "never", "", "^^^^^^^^^^^^", "no such time"},
		{"0 0 0 29 2 ? 2027", "never", "", "^^^^^^^^^^^^^^^^^", "no such time"},
		{"0 0 0 ? 2 2#5 2045-2070", "never", "", "^^^^^^^^^^^^^^^^^^^^^^^", "no such time"},
		{"0 0 0 1 1 ? 2200", "never", "", "^^^^^^^^^^^^^^^^", "2199"},
		{"0 0 0 * * *", "days", "day-of-week", "          ^", "instead of * for day-of-week"},
		{"0 30 9 * * MON-FRI", "days", "day-of-week", "           ^^^^^^^", "instead of * for day-of-month"},
		{"0 0 0 1 * MON", "days", "day-of-week", "          ^^^", "not both"},
		{"0 0 0 ? * ?", "days", "day-of-week", "          ^", "cannot both be ?"},
		{"0 0 0 ? * 0", "range", "day-of-week", "          ^", "Sunday is 1"},
		{"0 0 0 ? * 8", "range", "day-of-week", "          ^", "1 to 7"},
		{"60 0 0 * * ?", "range", "second", "^^", "0 to 59"},
		{"0 0/60 0 * * ?", "step", "minute", "    ^^", "at most 59"},
		{"0 0 0 L-31 * ?", "range", "day-of-month", "        ^^", "at most 30"},
		{"0 0 0 ? * 6#6", "range", "day-of-week", "            ^", "1 to 5"},
		{"0 0 0 ? * FRI#2,MON#1", "syntax", "day-of-week", "               ^^^^^^", "cannot stand in a list"},
		{"0 0 0 ? * MON,FRI#2", "syntax", "day-of-week", "                 ^^", "alone in its field"},
		{"0 0 0 L,15 * ?", "syntax", "day-of-month", "       ^^^", "cannot stand in a list"},
		{"0 0 0 15,L * ?", "syntax", "day-of-month", "         ^", "not in a list"},
		{"0 0 0 ? * MON-5", "syntax", "day-of-week", "              ^", "same sort"},
		{"0 0 0 * * ? 1969", "range", "year", "            ^^^^", "1970 to 9999"},
		{"0 0 0 * * ? 2030-2020", "reversed", "year", "            ^^^^^^^^^", "ends before it begins"},
		{"@reboot", "unknown", "", "^^^^^^^", "@yearly"},
		{"@daily x", "fields", "", "       ^", "nothing after it"},
		{"@every", "fields", "", "^^^^^^", "duration"},
		{"@every 1h 30m", "fields", "", "          ^^^", "without blanks"},
		{"@every 1d", "syntax", "", "       ^^", "units"},
		{"@every 999ms", "range", "", "       ^^^^^", "1 second"},
		{"@every -1h", "range", "", "       ^^^", "positive"},
		{"@every 1h0.5ms", "range", "", "       ^^^^^^^", "whole milliseconds"},
		{"@every 90000h", "range", "", "       ^^^^^^", "10 years"},
	} {
		_, err := Compile(Spec{Cron: r.expr}, "", "", "")
		refused{Spec{Cron: r.expr}, "cron", r.rule, r.part, r.caret, r.message}.check(t, err)
	}
}

func TestBadSpecs(t *testing.T) {
	long := strings.Repeat("1,", 130) + "1 * * * *"
	for _, r := range []refused{
		{Spec{}, "cron", "required", "", "", "one of"},
		{Spec{Cron: "* * * * *", EveryMs: 1000}, "cron", "conflict", "", "", "only one"},
		{Spec{At: 1, EveryMs: 1000}, "cron", "conflict", "", "", "only one"},
		{Spec{Cron: "* * * * *", Dialect: "cisco"}, "dialect", "one_of", "", "", `"cisco"`},
		{Spec{Cron: "* * * * *", Dialect: Quartz}, "cron", "fields", "", "^^^^^^^^^", "6 or 7 fields"},
		{Spec{Cron: "0 * * * * ?", Dialect: Unix}, "cron", "fields", "", "          ^", "5 fields"},
		{Spec{Cron: "@daily", Dialect: Quartz}, "cron", "unknown", "", "^^^^^^", "Quartz has no @"},
		{Spec{Cron: long}, "cron", "max_length", "", "", "269 bytes"},
		{Spec{EveryMs: 999}, "everyMs", "range", "", "", "1 second"},
		{Spec{EveryMs: -5}, "everyMs", "range", "", "", "1 second"},
		{Spec{EveryMs: MaxEveryMs + 1}, "everyMs", "range", "", "", "10 years"},
		{Spec{EveryMs: 1000, Anchor: -1}, "anchor", "range", "", "", "1970"},
		{Spec{EveryMs: 1000, Anchor: MaxInstant + 1}, "anchor", "range", "", "", "9999"},
		{Spec{Cron: "* * * * *", Anchor: 5}, "anchor", "conflict", "", "", "only an interval"},
		{Spec{Cron: "@daily", Anchor: 5}, "anchor", "conflict", "", "", "only an interval"},
		{Spec{At: -1}, "at", "range", "", "", "1970"},
		{Spec{At: MaxInstant + 1}, "at", "range", "", "", "9999"},
	} {
		_, err := Compile(r.spec, "Europe/Berlin", "", "")
		r.check(t, err)
	}
	for rule, err := range map[string]error{"dstGap": second(Compile(Spec{At: 1}, "", "first", "")), "dstOverlap": second(Compile(Spec{At: 1}, "", "", "skip"))} {
		refused{Spec{}, rule, "one_of", "", "", "none of"}.check(t, err)
	}
}

func second(_ *Timetable, err error) error { return err }

func TestUnknownZones(t *testing.T) {
	for _, zone := range []string{
		"Local", "local", "Europe/Berln", "../../etc/passwd", "/etc/localtime", "Europe/../UTC", "right/Europe/Berlin", "posix/UTC", "localtime", "posixrules", "Factory", "europe/berlin",
		"Europe//Berlin", "Europe", "UTC\x00", `Europe\Berlin`, "Zone.tab", "tzdata.zi", "CET-1CEST", " UTC", strings.Repeat("A", 65), "Köln",
	} {
		_, err := Compile(Spec{At: 1}, zone, "", "")
		refused{Spec{}, "zone", "unknown", "", "", "unknown time zone"}.check(t, err)
	}
	for _, zone := range []string{"", "UTC", "Etc/GMT+5", "America/Argentina/Buenos_Aires", "EST5EDT", "America/Port-au-Prince", "Asia/Kolkata"} {
		if _, err := Compile(Spec{At: 1}, zone, "", ""); err != nil {
			t.Errorf("%q: %v", zone, err)
		}
	}
}

// What is about to be saved must have a fire left; what was saved once may be over.
func TestNothingLeftIsRefusedAtSave(t *testing.T) {
	now := instant(t, "2026-11-22T10:00:00Z")
	for _, r := range []refused{
		{Spec{Cron: "0 0 0 1 1 ? 2020"}, "cron", "never", "", "^^^^^^^^^^^^^^^^", "over"},
		{Spec{Cron: "0 0 11 22 11 ? 2026"}, "cron", "never", "", "^^^^^^^^^^^^^^^^^^^", "over"},
		{Spec{At: now}, "at", "never", "", "", "over"},
		{Spec{At: now - 1}, "at", "never", "", "", "over"},
	} {
		if _, err := Compile(r.spec, "Europe/Berlin", "", ""); err != nil {
			t.Errorf("%+v: %v", r.spec, err)
		}
		_, err := CompileAt(r.spec, "Europe/Berlin", "", "", now)
		r.check(t, err)
	}
	for _, s := range []Spec{{At: now + 1}, {Cron: "1 0 11 22 11 ? 2026"}, {EveryMs: 1000}} {
		if _, err := CompileAt(s, "Europe/Berlin", "", "", now); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
	// The only fire there is falls into the gap, and gaps are skipped.
	once := Spec{Cron: "0 30 2 28 3 ? 2027"}
	_, err := Compile(once, "Europe/Berlin", Skip, "")
	refused{once, "cron", "never", "", "^^^^^^^^^^^^^^^^^^", ""}.check(t, err)
	if _, err := Compile(once, "Europe/Berlin", Shift, ""); err != nil {
		t.Error(err)
	}
}

func TestDescriptions(t *testing.T) {
	for expr, want := range map[string]string{
		"30 9 * * MON-FRI":           "At 09:30 on Monday to Friday, Europe/Berlin",
		"*/5 * * * *":                "Every 5 minutes, Europe/Berlin",
		"* * * * *":                  "Every minute, Europe/Berlin",
		"0/5 * * * * ? *":            "Every 5 seconds, Europe/Berlin",
		"* * * * * ?":                "Every second, Europe/Berlin",
		"30 * * * *":                 "At minute 30 of every hour, Europe/Berlin",
		"0,20,45 * * * *":            "At minutes 0, 20 and 45 of every hour, Europe/Berlin",
		"0 */2 * * *":                "At minute 0 of every 2nd hour from 00:00 on, Europe/Berlin",
		"*/5 9-17 * * *":             "Every 5 minutes of hours 9 to 17, Europe/Berlin",
		"0 9,17 * * *":               "At 09:00 and 17:00, Europe/Berlin",
		"0 0 0/5 * * ? *":            "At 00:00, 05:00, 10:00, 15:00 and 20:00, Europe/Berlin",
		"15 30 9 ? * 6#3":            "At 09:30:15 on the third Friday of the month, Europe/Berlin",
		"0 0 0 L * ?":                "At 00:00 on the last day of the month, Europe/Berlin",
		"0 0 0 L-1 * ?":              "At 00:00 on the day before the last day of the month, Europe/Berlin",
		"0 0 0 L-3W * ?":             "At 00:00 on the weekday nearest to the day 3 days before the last day of the month, Europe/Berlin",
		"0 0 0 15W * ?":              "At 00:00 on the weekday nearest to day 15 of the month, Europe/Berlin",
		"0 0 0 ? * FRIL":             "At 00:00 on the last Friday of the month, Europe/Berlin",
		"0 0 13 * FRI":               "At 00:00 on day 13 of the month or on Friday, Europe/Berlin",
		"0 0 */15 * FRI":             "At 00:00 on days 1, 16 and 31 of the month if it is Friday, Europe/Berlin",
		"0 0 1,15 1-3,12 *":          "At 00:00 on days 1 and 15 of the month in January to March and December, Europe/Berlin",
		"0 0 * * 6,0":                "At 00:00 on Saturday and Sunday, Europe/Berlin",
		"0 0 * * 5-7":                "At 00:00 on Friday to Sunday, Europe/Berlin",
		"0 0 0 1 1 ? 2027-2029,2035": "At 00:00 on day 1 of the month in January in 2027 to 2029 and 2035, Europe/Berlin",
		"0 0 0 1 1 ? */3":            "At 00:00 on day 1 of the month in January in 1970, 1973, 1976, 1979, 1982, 1985, 1988, 1991 and more years, Europe/Berlin",
		"10,20 * 5 * * ?":            "At seconds 10 and 20 of every minute of hour 5, Europe/Berlin",
		"0/10 0/10 5 * * ?":          "Every 10 seconds of every 10th minute of hour 5, Europe/Berlin",
		"0/10 5-9 * ? * MON":         "Every 10 seconds of minutes 5 to 9 of every hour on Monday, Europe/Berlin",
		"0/20 * 9-17 * * ?":          "Every 20 seconds of hours 9 to 17, Europe/Berlin",
		"59 59 23 31 12 ? 2199":      "At 23:59:59 on day 31 of the month in December in 2199, Europe/Berlin",
		"@every 90s":                 "Every 1 minute 30 seconds",
		"@every 1h":                  "Every hour",
		"@every 36h":                 "Every 1 day 12 hours",
		"@daily":                     "At 00:00, Europe/Berlin",
		"0 12 1 1 *":                 "At 12:00 on day 1 of the month in January, Europe/Berlin",
	} {
		if got := mustCompile(t, expr, "Europe/Berlin", "", "").Describe(); got != want {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
	if got := compiled(t, Spec{At: instant(t, "2027-07-01T10:00:00Z")}).Describe(); got != "Once, at 2027-07-01 12:00, Europe/Berlin" {
		t.Error(got)
	}
	if got := compiled(t, Spec{EveryMs: 5000, Anchor: instant(t, "2027-07-01T10:00:00Z")}).Describe(); got != "Every 5 seconds, counted from 2027-07-01 12:00, Europe/Berlin" {
		t.Error(got)
	}
}

func TestLocal(t *testing.T) {
	for zone, want := range map[string]string{
		"UTC": "2026-07-01T12:00:00.007Z", "Europe/Berlin": "2026-07-01T14:00:00.007+02:00", "America/New_York": "2026-07-01T08:00:00.007-04:00", "Asia/Kathmandu": "2026-07-01T17:45:00.007+05:45",
	} {
		table, err := Compile(Spec{EveryMs: 1000}, zone, "", "")
		if err != nil {
			t.Fatal(err)
		}
		if got := table.Local(instant(t, "2026-07-01T12:00:00.007Z")); got != want {
			t.Errorf("%s: %s, want %s", zone, got, want)
		}
	}
}
