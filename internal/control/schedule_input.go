package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/taskweir/taskweir/internal/cron"
	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// ScheduleInput is a schedule as a client asks for it. Zero fields take the defaults of spec/v1 "Schedules".
type ScheduleInput struct {
	Name Maybe[string] // required; 1–100 printable characters
	TimesInput
	Misfire     *MisfireInput // nil: once, one hour
	Overlap     string        // "": allow
	MaxFailures Maybe[int64]  // 0 … 1,000; 0: never
	Paused      Maybe[bool]   // not set: running when it is made, as it is when it is changed
	Labels      []task.Label  // of the schedule, in the client's order
	Task        *Input        // required; without RunAt, DelayMs and ExpiresAt
	Broken      []task.FieldError
}

// TimesInput says when a schedule fires.
type TimesInput struct {
	Spec       *SpecInput   // required
	Zone       string       // "": UTC
	DSTGap     string       // "": shift
	DSTOverlap string       // "": first
	JitterMs   Maybe[int64] // 0 … 86,400,000
	StartAt    Maybe[int64] // ms since 1970; no slot before it
	EndAt      Maybe[int64] // ms since 1970; no slot at or after it
}

// SpecInput is an expression, an interval or an instant.
type SpecInput struct {
	Cron    Maybe[string]
	Dialect string
	EveryMs Maybe[int64]
	Anchor  Maybe[int64] // ms since 1970
	At      Maybe[int64] // ms since 1970
}

// MisfireInput is what happens to slots that were missed.
type MisfireInput struct {
	Policy   string       // "": once
	MaxAgeMs Maybe[int64] // 0 … ten years
}

// definition checks an input whole and gives what is stored of it. When it is to be saved, it must be able to fire after now.
func (s *Service) definition(ctx context.Context, p Principal, in *ScheduleInput, now int64) (*schedule.Timetable, error) {
	f := faults{fields: in.Broken}
	d := &schedule.Definition{MaxAgeMs: schedule.DefaultMaxAgeMs}
	if n := utf8.RuneCountInString(in.Name.V); in.Name.Set && (n < 1 || n > schedule.MaxName || !printable(in.Name.V)) {
		f.add("name", "length", fmt.Sprintf("must be 1 … %d printable characters", schedule.MaxName))
	} else if strings.TrimSpace(in.Name.V) != in.Name.V { // some databases take "a" and "a " for the same
		f.add("name", "pattern", "must not begin or end with a blank")
	} else if n > 0 && strings.Trim(in.Name.V, "0123456789") == "" { // the command line takes either: nobody shall delete another one
		f.add("name", "pattern", "must not be a number, which would be taken for an id")
	} else if !in.Name.Set {
		f.required("name")
	}
	checkPolicies(in, d, &f)
	checkLabels(in.Labels, &f)
	if err := s.template(ctx, p, in, d, now, &f); err != nil {
		return nil, err
	}
	t := timetable(&in.TimesInput, d, &f)
	if t != nil && len(f.fields) == 0 {
		checkFuture(t, now, &f)
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	for _, l := range in.Labels {
		if d.Labels == nil {
			d.Labels = make(map[string]string, len(in.Labels))
		}
		d.Labels[l.Key] = l.Value
	}
	return t, nil
}

// required names a field that is missing, unless something is wrong with it already.
func (f *faults) required(field string) {
	for _, x := range f.fields {
		if x.Field == field {
			return
		}
	}
	f.add(field, "required", "is required")
}

func checkPolicies(in *ScheduleInput, d *schedule.Definition, f *faults) {
	var ok bool
	if d.Overlap, ok = schedule.ParseOverlap(in.Overlap); !ok {
		f.add("overlap", "one_of", "must be allow, skip, queue or cancel_previous")
	}
	if m := in.Misfire; m != nil {
		if d.Misfire, ok = schedule.ParseMisfire(m.Policy); !ok {
			f.add("misfire.policy", "one_of", "must be skip, once or all")
		}
		f.inRange("misfire.maxAgeMs", m.MaxAgeMs, 0, task.MaxDelayMs)
		d.MaxAgeMs = m.MaxAgeMs.or(d.MaxAgeMs)
	}
	f.inRange("maxConsecutiveFailures", in.MaxFailures, 0, schedule.MaxFailures)
	d.MaxFailures = int(in.MaxFailures.V)
}

// timetable reads when a schedule fires into d and compiles it; nil when a rule was broken.
func timetable(in *TimesInput, d *schedule.Definition, f *faults) *schedule.Timetable {
	before := len(f.fields)
	f.inRange("jitterMs", in.JitterMs, 0, schedule.MaxJitterMs)
	f.inRange("startAt", in.StartAt, 1, cron.MaxInstant)
	f.inRange("endAt", in.EndAt, 1, cron.MaxInstant)
	if in.StartAt.Set && in.EndAt.Set && in.EndAt.V <= in.StartAt.V {
		f.add("endAt", "after", "must be later than startAt")
	}
	d.JitterMs, d.StartAt, d.EndAt = in.JitterMs.V, in.StartAt.V, in.EndAt.V
	d.Zone, d.DSTGap, d.DSTOverlap = in.Zone, cron.DSTGap(in.DSTGap), cron.DSTOverlap(in.DSTOverlap)
	if d.Zone == "" {
		d.Zone = "UTC"
	}
	if d.DSTGap == "" {
		d.DSTGap = cron.Shift
	}
	if d.DSTOverlap == "" {
		d.DSTOverlap = cron.First
	}
	if in.Spec == nil {
		f.required("spec")
	} else {
		d.Spec = in.Spec.spec(f)
	}
	if len(f.fields) > before || f.hasUnder("spec") || f.has("zone") || f.has("dstGap") || f.has("dstOverlap") {
		return nil
	}
	t, err := schedule.Compile(d)
	if err != nil {
		f.expression(err)
		return nil
	}
	return t
}

// spec is what package cron compiles. Values that would be taken for "not given" are refused here.
func (in *SpecInput) spec(f *faults) cron.Spec {
	const instant = "must lie between 1970 and 9999"
	if in.EveryMs.Set && in.EveryMs.V < 1 {
		f.add("spec.everyMs", "range", fmt.Sprintf("must be %d … %d", cron.MinEveryMs, cron.MaxEveryMs))
	}
	if in.At.Set && in.At.V < 1 {
		f.add("spec.at", "range", instant)
	}
	if in.Anchor.Set && in.Anchor.V < 0 {
		f.add("spec.anchor", "range", instant)
	}
	out := cron.Spec{Cron: in.Cron.V, Dialect: cron.Dialect(in.Dialect), EveryMs: in.EveryMs.V, Anchor: in.Anchor.V, At: in.At.V}
	switch {
	case in.Cron.Set && out.Dialect == "":
		out.Dialect = cron.Auto
	case !in.Cron.Set && in.Dialect != "":
		f.add("spec.dialect", "requires", "has no meaning without cron")
	}
	return out
}

// hasUnder reports whether something is wrong with a field or a member of it.
func (f *faults) hasUnder(field string) bool {
	for _, x := range f.fields {
		if x.Field == field || strings.HasPrefix(x.Field, field+".") {
			return true
		}
	}
	return false
}

// expression names what package cron refused, and points at it.
func (f *faults) expression(err error) {
	var e *cron.Error
	if !errors.As(err, &e) {
		f.add("spec", "syntax", err.Error())
		return
	}
	x := task.FieldError{Field: e.Field, Rule: e.Rule, Message: e.Error()}
	switch e.Field {
	case "cron", "dialect", "everyMs", "anchor", "at":
		x.Field = "spec." + e.Field
	}
	if e.Expr != "" && e.Pos >= 0 && e.Len >= 0 && e.Pos+e.Len <= len(e.Expr) {
		x.Place = &task.Place{Text: e.Expr, At: utf8.RuneCountInString(e.Expr[:e.Pos]), Length: utf8.RuneCountInString(e.Expr[e.Pos : e.Pos+e.Len])}
	}
	f.fields = append(f.fields, x)
}

// checkFuture refuses what would never fire after now.
func checkFuture(t *schedule.Timetable, now int64, f *faults) {
	if t.Next(now) != schedule.Never {
		return
	}
	f.byClock = true
	_, err := cron.CompileAt(t.Spec, t.Zone, t.DSTGap, t.DSTOverlap, max(now, t.StartAt-1))
	if err != nil {
		f.expression(err)
		return
	}
	f.add("endAt", "never", "it would never fire: no slot lies between now and endAt")
}

// template checks the task of a schedule by the rules of POST /v1/tasks and puts it into d. The error is an internal one;
// broken rules are in f.
func (s *Service) template(ctx context.Context, p Principal, in *ScheduleInput, d *schedule.Definition, now int64, f *faults) error {
	if in.Task == nil {
		f.required("task")
		return nil
	}
	work, raw := *in.Task, in.Task.Payload
	tf := faults{fields: slices.Clone(in.Task.Broken)}
	refuseTimes(&work, &tf)
	work.Payload = sample(raw, in.Name.V, now, &tf)
	work.Broken = tf.fields
	var sub task.Submission
	var unique task.Unique
	_, err := s.prepare(ctx, &p, &work, &sub, &unique)
	var refused *task.Error
	switch {
	case errors.As(err, &refused) && len(refused.Fields) > 0:
		f.tooLarge = f.tooLarge || refused.Kind == task.TooLarge
		f.within("task", refused.Fields)
		return nil
	case err != nil:
		return err
	}
	body, err := task.DecodeBody(sub.Body)
	if err != nil {
		return err
	}
	prio, _ := task.ParsePriority(work.Priority)
	if raw == nil {
		raw = nullPayload
	}
	d.Task = schedule.Template{Kind: work.Kind, KindID: sub.KindID, Queue: work.Queue, Priority: prio, LaneID: sub.LaneID, TimeoutMs: sub.TimeoutMs,
		Flags: sub.Flags, Head: body.Head, OnConflict: unique.OnConflict, Payload: raw}
	return nil
}

// refuseTimes refuses what only a task with a time of its own has, and takes it out.
func refuseTimes(in *Input, f *faults) {
	const slot = "has no place in a schedule: each task is due at its slot"
	if in.RunAt.Set {
		f.add("runAt", "conflict", slot)
	}
	if in.DelayMs.Set {
		f.add("delayMs", "conflict", slot+"; jitterMs spreads the starts")
	}
	if in.ExpiresAt.Set {
		f.add("expiresAt", "conflict", "has no place in a schedule: it is one instant, and the slots are many; misfire.maxAgeMs bounds how late a slot may start")
	}
	if in.UniqueScope == "until_due" {
		f.add("uniqueScope", "conflict", "has no place in a schedule, whose tasks are due at once: until_started is what comes next")
		in.UniqueScope = ""
	}
	in.RunAt, in.DelayMs, in.ExpiresAt = Maybe[int64]{}, Maybe[int64]{}, Maybe[int64]{}
}

// sample is the payload as a slot at now would have it, so that the rules of the kind are held against what its tasks will get.
func sample(raw []byte, name string, now int64, f *faults) []byte {
	if len(raw) > task.MaxPayload {
		return raw // refused for that
	}
	filled, err := schedule.Fill(raw, name, now)
	switch {
	case err != nil:
		f.add("payload", "template", err.Error())
		return nil
	case len(filled) > task.MaxPayload:
		f.add("payload", "max_length", fmt.Sprintf("must be at most %d bytes, also with its templates filled", task.MaxPayload))
		return nil
	}
	return filled
}

// within adds faults of a member.
func (f *faults) within(member string, fields []task.FieldError) {
	for _, x := range fields {
		if x.Field == "" {
			x.Field = member
		} else if x.Field[0] == '[' {
			x.Field = member + x.Field
		} else {
			x.Field = member + "." + x.Field
		}
		f.fields = append(f.fields, x)
	}
}
