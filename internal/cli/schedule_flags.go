package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// scheduleFlags are the flags of create, edit and preview. Rules of the API are left to the API, which names field and rule.
type scheduleFlags struct {
	submitFlags // of the task
	kind        string

	file, name                           string
	cron, dialect, at, anchor            string
	zone, dstGap, dstOverlap, start, end string
	misfire, overlap                     string
	every, jitter, maxAge                time.Duration
	maxFailures                          int
	paused                               bool
	scheduleLabels                       []string
	names                                []string // of all flags that say something about the schedule
}

// addTimes adds the flags that say when.
func (f *scheduleFlags) addTimes(fs *pflag.FlagSet) {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	own.StringVar(&f.cron, "cron", "", "an expression, like '30 2 * * *', '0 30 2 ? * MON-FRI' or '@daily'")
	own.StringVar(&f.dialect, "dialect", "", "how it is read: auto, unix or quartz (default auto)")
	own.DurationVar(&f.every, "every", 0, "an interval, like 90s or 24h")
	own.StringVar(&f.anchor, "anchor", "", "an instant that the interval is counted from (RFC 3339)")
	own.StringVar(&f.at, "at", "", "once, at this time (RFC 3339)")
	own.StringVar(&f.zone, "zone", "", "the time zone of the expression, like Europe/Berlin (default UTC)")
	own.StringVar(&f.dstGap, "dst-gap", "", "a time that the clock leaves out: skip or shift it (default shift)")
	own.StringVar(&f.dstOverlap, "dst-overlap", "", "a time that comes twice: first, second or both (default first)")
	own.DurationVar(&f.jitter, "jitter", 0, "start each task up to this much later")
	own.StringVar(&f.start, "start", "", "no slot before this time (RFC 3339)")
	own.StringVar(&f.end, "end", "", "no slot at or after this time (RFC 3339)")
	f.take(fs, own)
}

// add adds all flags.
func (f *scheduleFlags) add(fs *pflag.FlagSet) {
	f.addTimes(fs)
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	own.StringVar(&f.misfire, "misfire", "", "missed slots: run all, once (the newest) or skip (default once)")
	own.DurationVar(&f.maxAge, "misfire-max-age", 0, "missed slots older than this are skipped (default 1h)")
	own.StringVar(&f.overlap, "overlap", "", "while an earlier run has not ended: allow, skip, queue or cancel_previous (default allow)")
	own.IntVar(&f.maxFailures, "max-failures", 0, "pause after this many failed runs in a row (default: never)")
	own.BoolVar(&f.paused, "paused", false, "paused, or with =false not")
	own.StringArrayVar(&f.scheduleLabels, "label", nil, "key=value of the schedule, may be repeated")
	own.StringVar(&f.kind, "kind", "", "kind of its tasks: http, callback, shell, echo, or one that a worker declared")
	own.StringVar(&f.queue, "queue", "", "their queue (default \"default\")")
	own.StringVar(&f.payload, "payload", "", "JSON, @file, or - for standard input; may hold {{slot}}, {{slotUnix}}, {{schedule.name}}")
	own.StringVar(&f.priority, "priority", "", "high, normal or low (default normal)")
	own.StringVar(&f.timeout, "timeout", "", "how long one may run, like 30s, or none (default 1m)")
	f.retry.add(own)
	own.StringVar(&f.completion, "completion-url", "", "URL that gets a signed POST when a task is final")
	own.StringVar(&f.limitKey, "limit-key", "", "share the limits of this key (taskweir limit-keys)")
	own.StringVar(&f.uniqueScope, "unique-scope", "", "how long a task has the key: until_started, until_finished, window or forever (default until_finished)")
	own.DurationVar(&f.uniqueWindow, "unique-window", 0, "how long, with --unique-scope window")
	own.StringVar(&f.uniqueConflict, "unique-on-conflict", "", "reject, keep or replace (what has not started) (default reject)")
	own.StringVar(&f.unique, "unique-key", "", "make no task while another with this key is not final")
	own.StringArrayVar(&f.labels, "task-label", nil, "key=value of the tasks, may be repeated")
	f.take(fs, own)
}

func (f *scheduleFlags) take(fs, own *pflag.FlagSet) {
	own.VisitAll(func(x *pflag.Flag) { f.names = append(f.names, x.Name) })
	fs.AddFlagSet(own)
}

// any reports whether one of the flags was given.
func (f *scheduleFlags) any(changed func(string) bool) bool {
	for _, name := range append(f.names, "name") {
		if changed(name) {
			return true
		}
	}
	return false
}

// apply puts the flags that were given into a request.
func (f *scheduleFlags) apply(p *program, in *apiv1.ScheduleInput, changed func(string) bool) error {
	if err := f.times(in, changed); err != nil {
		return err
	}
	text(changed, "name", f.name, &in.Name)
	text(changed, "overlap", f.overlap, &in.Overlap)
	if changed("misfire") || changed("misfire-max-age") {
		if in.Misfire == nil {
			in.Misfire = &apiv1.ScheduleMisfire{}
		}
		text(changed, "misfire", f.misfire, &in.Misfire.Policy)
		if ms := f.maxAge.Milliseconds(); changed("misfire-max-age") {
			in.Misfire.MaxAgeMs = &ms
		}
	}
	if changed("max-failures") {
		in.MaxConsecutiveFailures = f.maxFailures
	}
	if changed("paused") {
		in.Paused = &f.paused
	}
	if changed("label") {
		var err error
		if in.Labels, err = labelMap("label", f.scheduleLabels); err != nil {
			return err
		}
	}
	return f.task(p, &in.Task, changed)
}

// text sets a member whose flag was given.
func text(changed func(string) bool, flag, value string, to *string) {
	if changed(flag) {
		*to = value
	}
}

// times puts in what says when. A new spec replaces the old one whole.
func (f *scheduleFlags) times(in *apiv1.ScheduleInput, changed func(string) bool) error {
	if changed("cron") || changed("every") || changed("at") {
		in.Spec = apiv1.ScheduleSpec{}
	}
	text(changed, "cron", f.cron, &in.Spec.Cron)
	text(changed, "dialect", f.dialect, &in.Spec.Dialect)
	if changed("every") {
		in.Spec.EveryMs = f.every.Milliseconds()
	}
	text(changed, "zone", f.zone, &in.Zone)
	text(changed, "dst-gap", f.dstGap, &in.DSTGap)
	text(changed, "dst-overlap", f.dstOverlap, &in.DSTOverlap)
	if changed("jitter") {
		in.JitterMs = f.jitter.Milliseconds()
	}
	for _, x := range []struct {
		flag, text string
		to         **apiv1.Time
	}{{"anchor", f.anchor, &in.Spec.Anchor}, {"at", f.at, &in.Spec.At}, {"start", f.start, &in.StartAt}, {"end", f.end, &in.EndAt}} {
		switch {
		case !changed(x.flag):
			continue
		case x.text == "": // takes it away
			*x.to = nil
			continue
		}
		at, err := apiv1.ParseTime(x.text)
		if err != nil {
			return usage(fmt.Errorf("--%s: %w", x.flag, err))
		}
		*x.to = &at
	}
	return nil
}

// task changes the task of a request by the rules of tasks submit.
func (f *scheduleFlags) task(p *program, in *apiv1.Submit, changed func(string) bool) error {
	own := f.submitFlags
	own.labels = nil // read below, under the name of their flag here
	given, err := p.submission(f.kind, &own, changed)
	if err != nil {
		return err
	}
	text(changed, "kind", f.kind, &in.Kind)
	text(changed, "queue", f.queue, &in.Queue)
	text(changed, "priority", f.priority, &in.Priority)
	text(changed, "completion-url", f.completion, &in.CompletionURL)
	text(changed, "limit-key", f.limitKey, &in.LimitKey)
	text(changed, "unique-key", f.unique, &in.UniqueKey)
	text(changed, "unique-scope", f.uniqueScope, &in.UniqueScope)
	text(changed, "unique-on-conflict", f.uniqueConflict, &in.UniqueOnConflict)
	if changed("unique-window") {
		in.UniqueWindowMs = given.UniqueWindowMs
	}
	if changed("unique-key") && f.unique == "" {
		in.UniqueScope, in.UniqueWindowMs, in.UniqueOnConflict = "", nil, ""
	}
	if changed("payload") {
		in.Payload = given.Payload
	}
	if changed("timeout") {
		in.TimeoutMs = given.TimeoutMs
	}
	if given.Retry != nil {
		in.Retry = mergedRetry(in.Retry, given.Retry)
	}
	if changed("task-label") {
		in.Labels, err = labelMap("task-label", f.labels)
	}
	return err
}

// mergedRetry is the old policy with what was given; another policy begins anew.
func mergedRetry(old, given *apiv1.Retry) *apiv1.Retry {
	if old == nil || given.Policy != "" {
		return given
	}
	out := *old
	if given.Max != nil {
		out.Max = given.Max
	}
	if given.BaseMs != nil {
		out.BaseMs = given.BaseMs
	}
	if given.CapMs != nil {
		out.CapMs = given.CapMs
	}
	if given.Jitter != nil {
		out.Jitter = given.Jitter
	}
	return &out
}

// labelMap reads key=value; one empty text is no label at all.
func labelMap(flag string, pairs []string) (map[string]string, error) {
	out := map[string]string{}
	for _, pair := range pairs {
		k, v, ok := strings.Cut(pair, "=")
		if pair != "" && !ok {
			return nil, usage(fmt.Errorf("--%s: %q is not key=value", flag, pair))
		}
		if ok {
			out[k] = v
		}
	}
	return out, nil
}

// inputOf is the request that would make a schedule what it is.
func inputOf(s apiv1.Schedule) apiv1.ScheduleInput {
	in := apiv1.ScheduleInput{
		Name: s.Name, Spec: apiv1.ScheduleSpec{Cron: s.Spec.Cron, Dialect: s.Spec.Dialect, EveryMs: s.Spec.EveryMs, Anchor: given(s.Spec.Anchor), At: given(s.Spec.At)},
		Zone: s.Zone, DSTGap: s.DSTGap, DSTOverlap: s.DSTOverlap, Misfire: &apiv1.ScheduleMisfire{Policy: s.Misfire.Policy, MaxAgeMs: &s.Misfire.MaxAgeMs},
		Overlap: s.Overlap, JitterMs: s.JitterMs, StartAt: given(s.StartAt), EndAt: given(s.EndAt),
		MaxConsecutiveFailures: s.MaxConsecutiveFailures, Labels: s.Labels,
	}
	t, r := &s.Task, &s.Task.Retry
	most := int64(r.Max)
	in.Task = apiv1.Submit{Kind: t.Kind, Queue: t.Queue, Payload: t.Payload, Priority: t.Priority, TimeoutMs: &t.TimeoutMs, Labels: t.Labels,
		Retry:          &apiv1.Retry{Policy: r.Policy, BaseMs: &r.BaseMs, CapMs: &r.CapMs, Jitter: &r.Jitter, Max: &most, DelaysMs: r.DelaysMs},
		UniqueWindowMs: t.UniqueWindowMs}
	for _, x := range []struct{ from, to *string }{{t.UniqueKey, &in.Task.UniqueKey}, {t.UniqueScope, &in.Task.UniqueScope}, {t.UniqueOnConflict, &in.Task.UniqueOnConflict}, {t.LimitKey, &in.Task.LimitKey}, {t.CompletionURL, &in.Task.CompletionURL}} {
		if x.from != nil {
			*x.to = *x.from
		}
	}
	return in
}

func given(t apiv1.Time) *apiv1.Time {
	if t == 0 {
		return nil
	}
	return &t
}
