package cron

import (
	"fmt"
	"strings"
	"time"
)

// Dialect says how an expression is read.
type Dialect string

// The dialects. Empty means Auto.
const (
	Auto   Dialect = "auto"   // by the number of fields: 5 is Unix, 6 or 7 is Quartz; a leading @ is a form of crontab
	Unix   Dialect = "unix"   // minute hour day-of-month month day-of-week, and the @ forms
	Quartz Dialect = "quartz" // second minute hour day-of-month month day-of-week [year], as Quartz 2.3.2 reads them
)

// DSTGap says what happens to a fire whose wall time does not exist on a day.
type DSTGap string

// The rules for gaps. Empty means Shift.
const (
	Skip  DSTGap = "skip"  // it does not happen
	Shift DSTGap = "shift" // it happens later by the length of the gap: 02:30 becomes 03:30
)

// DSTOverlap says what happens to a fire whose wall time occurs twice on a day.
type DSTOverlap string

// The rules for overlaps. Empty means First.
const (
	First  DSTOverlap = "first"  // it happens at the first of the two
	Second DSTOverlap = "second" // it happens at the second
	Both   DSTOverlap = "both"   // it happens twice
)

// Limits of a Spec.
const (
	MaxExpression = 255                                  // bytes
	MinEveryMs    = int64(1_000)                         // one second
	MaxEveryMs    = int64(10*365*24) * 60 * 60 * 1_000   // ten years of 365 days
	MaxInstant    = int64(253_402_300_800)*1_000 - 1     // ms: the last one of year 9999
	FirstYear     = 1970                                 // of expressions
	LastYear      = 2199                                 // of expressions: nothing fires later
	maxZoneName   = 64                                   // bytes
	maxSecond     = int64(7_258_118_400) + 2*secondsADay // 2200-01-01 and what a zone may be behind UTC
)

// Spec says when a schedule fires. Exactly one of Cron, EveryMs and At is set.
type Spec struct {
	Cron    string  // an expression
	Dialect Dialect // how Cron is read
	EveryMs int64   // a fixed interval, ms: MinEveryMs to MaxEveryMs
	Anchor  int64   // ms since 1970 UTC: an interval fires at Anchor and at whole multiples before and after it; 0 means 1970 UTC
	At      int64   // ms since 1970 UTC: fires once
}

// Compile checks everything and gives the timetable; what is wrong is an *Error. It refuses what can never fire at all, such as
// 31 February, but not what is over: see CompileAt. zone is an IANA name, empty for UTC.
func Compile(spec Spec, zone string, gap DSTGap, overlap DSTOverlap) (*Timetable, error) {
	loaded, err := loadZone(zone)
	if err != nil {
		return nil, err
	}
	t := &Timetable{zone: loaded}
	if err := t.setRules(gap, overlap); err != nil {
		return nil, err
	}
	if err := t.setSpec(spec); err != nil {
		return nil, err
	}
	if _, ok := t.Next(-1); !ok {
		return nil, t.never(spec, "it can never fire: no such time exists up to the year "+fmt.Sprint(LastYear))
	}
	return t, nil
}

// CompileAt is Compile for what is about to be saved: it also refuses what has no fire after nowMs (ms since 1970 UTC), such as a
// year that is over.
func CompileAt(spec Spec, zone string, gap DSTGap, overlap DSTOverlap, nowMs int64) (*Timetable, error) {
	t, err := Compile(spec, zone, gap, overlap)
	if err != nil {
		return nil, err
	}
	if _, ok := t.Next(nowMs); !ok {
		return nil, t.never(spec, "it would never fire: its last time is over")
	}
	return t, nil
}

func (t *Timetable) setRules(gap DSTGap, overlap DSTOverlap) error {
	switch gap {
	case Shift, "":
		t.shift = true
	case Skip:
	default:
		return &Error{Field: "dstGap", Rule: "one_of", Message: fmt.Sprintf("%q is none of skip, shift", clip(string(gap)))}
	}
	switch overlap {
	case First, "":
		t.overlap = First
	case Second, Both:
		t.overlap = overlap
	default:
		return &Error{Field: "dstOverlap", Rule: "one_of", Message: fmt.Sprintf("%q is none of first, second, both", clip(string(overlap)))}
	}
	return nil
}

func (t *Timetable) setSpec(s Spec) error {
	if err := checkShape(s); err != nil {
		return err
	}
	switch {
	case s.Cron != "":
		return t.setCron(s)
	case s.EveryMs != 0:
		return t.setEvery(s.EveryMs, s.Anchor, "everyMs")
	default:
		t.at = s.At
		return nil
	}
}

func checkShape(s Spec) error {
	given := 0
	for _, set := range []bool{s.Cron != "", s.EveryMs != 0, s.At != 0} {
		if set {
			given++
		}
	}
	switch {
	case given == 0:
		return &Error{Field: "cron", Rule: "required", Message: "one of cron, everyMs and at is needed"}
	case given > 1:
		return &Error{Field: "cron", Rule: "conflict", Message: "only one of cron, everyMs and at may be given"}
	case s.Dialect != "" && s.Dialect != Auto && s.Dialect != Unix && s.Dialect != Quartz:
		return &Error{Field: "dialect", Rule: "one_of", Message: fmt.Sprintf("%q is none of auto, unix, quartz", clip(string(s.Dialect)))}
	case s.Anchor < 0 || s.Anchor > MaxInstant:
		return &Error{Field: "anchor", Rule: "range", Message: "the anchor lies between 1970 and 9999"}
	case s.At < 0 || s.At > MaxInstant:
		return &Error{Field: "at", Rule: "range", Message: "the instant lies between 1970 and 9999"}
	case s.Anchor != 0 && s.EveryMs == 0 && !strings.HasPrefix(strings.TrimLeft(s.Cron, " \t"), "@"):
		return &Error{Field: "anchor", Rule: "conflict", Message: "only an interval has an anchor"}
	}
	return nil
}

func (t *Timetable) setEvery(every, anchor int64, field string) error {
	if every < MinEveryMs || every > MaxEveryMs {
		return &Error{Field: field, Rule: "range", Message: "an interval lies between 1 second and 10 years (3650 days)"}
	}
	t.every, t.anchor = every, anchor
	return nil
}

// setCron reads the expression in its dialect.
func (t *Timetable) setCron(s Spec) error {
	p, err := split(s.Cron)
	if err != nil {
		return err
	}
	if strings.HasPrefix(s.Cron[p.fields[0].pos:], "@") {
		return t.setForm(p, s)
	}
	if s.Anchor != 0 {
		return &Error{Field: "anchor", Rule: "conflict", Message: "only an interval has an anchor"}
	}
	if s.Dialect == Unix || s.Dialect != Quartz && len(p.fields) == len(unixFields) {
		t.fields, err = p.unix()
		return err
	}
	t.fields, err = p.quartz(s.Dialect != Quartz)
	return err
}

// never builds the refusal of a spec without a fire.
func (t *Timetable) never(s Spec, message string) error {
	e := &Error{Field: "cron", Rule: "never", Message: message, Expr: s.Cron}
	switch {
	case s.At != 0:
		e.Field, e.Message = "at", "it would never fire: the instant is over"
	case s.EveryMs != 0:
		e.Field = "everyMs"
	default:
		e.Pos, e.Len = 0, len(s.Cron)
		if p, err := split(s.Cron); err == nil {
			e.Pos, e.Len = p.span(0, len(p.fields)-1)
		}
	}
	return e
}

// forms are the names that crontab knows for common expressions.
var forms = map[string]string{
	"@yearly":   "0 0 1 1 *",
	"@annually": "0 0 1 1 *",
	"@monthly":  "0 0 1 * *",
	"@weekly":   "0 0 * * 0",
	"@daily":    "0 0 * * *",
	"@midnight": "0 0 * * *",
	"@hourly":   "0 * * * *",
}

// setForm reads @daily and the like, and @every with a duration as Go writes it.
func (t *Timetable) setForm(p parser, s Spec) error {
	name := strings.ToLower(p.text(0))
	if s.Dialect == Quartz {
		return p.fail(0, "unknown", "Quartz has no @ forms: use dialect unix or auto")
	}
	if name == "@every" {
		return t.setEveryForm(p, s)
	}
	expr, ok := forms[name]
	if !ok {
		return p.fail(0, "unknown", fmt.Sprintf("unknown form %q: there are @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly and @every <duration>", p.text(0)))
	}
	if len(p.fields) > 1 {
		return p.failAt(p.fields[1].pos, p.end()-p.fields[1].pos, "fields", name+" takes nothing after it")
	}
	if s.Anchor != 0 {
		return &Error{Field: "anchor", Rule: "conflict", Message: "only an interval has an anchor"}
	}
	whole, err := split(expr)
	if err != nil {
		return err
	}
	t.fields, err = whole.unix()
	return err
}

func (t *Timetable) setEveryForm(p parser, s Spec) error {
	if len(p.fields) == 1 {
		return p.fail(0, "fields", "@every needs a duration: @every 90s, @every 1h30m")
	}
	if len(p.fields) > 2 {
		return p.failAt(p.fields[2].pos, p.end()-p.fields[2].pos, "fields", "@every takes one duration, without blanks: 1h30m")
	}
	d, err := time.ParseDuration(p.text(1))
	if err != nil {
		return p.fail(1, "syntax", "not a duration: write numbers with the units h, m, s, ms, such as 1h30m")
	}
	if d%time.Millisecond != 0 || d < 0 {
		return p.fail(1, "range", "an interval is a positive number of whole milliseconds")
	}
	if t.setEvery(d.Milliseconds(), s.Anchor, "cron") != nil {
		return p.fail(1, "range", "an interval lies between 1 second and 10 years (3650 days)")
	}
	return nil
}
