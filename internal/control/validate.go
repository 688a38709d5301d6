package control

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/taskweir/taskweir/internal/task"
)

// Limits of spec/v1 "Tasks" that are not in package task.
const (
	MaxKind        = 64
	MaxQueue       = 40
	MaxUniqueKey   = 255 // bytes
	MaxLabels      = 16
	MaxLabelKey    = 63  // characters
	MaxLabelValue  = 255 // characters
	MaxRetries     = 100
	MaxRetryDelays = 100
	MaxRetryMs     = 86_400_000
	MaxBatch       = 1_000
	MaxIdempotency = 255 // bytes
	DefaultQueue   = "default"
)

// faults collects every broken rule of one input.
type faults struct {
	fields   []task.FieldError
	tooLarge bool // a size limit that answers 413
	byClock  bool // at least one of them depends on the time of the request
}

func (f *faults) add(field, rule, message string) {
	f.fields = append(f.fields, task.FieldError{Field: field, Rule: rule, Message: message})
}

func (f *faults) inRange(field string, m Maybe[int64], lo, hi int64) {
	if m.Set && (m.V < lo || m.V > hi) {
		f.add(field, "range", fmt.Sprintf("must be %d … %d", lo, hi))
	}
}

// err is nil when no rule was broken.
func (f *faults) err() error {
	if len(f.fields) == 0 {
		return nil
	}
	kind, code := task.Invalid, "invalid"
	if f.tooLarge {
		kind, code = task.TooLarge, "payload_too_large"
	}
	msg := f.fields[0].Message
	if f.fields[0].Field != "" {
		msg = f.fields[0].Field + ": " + msg
	}
	if n := len(f.fields) - 1; n > 0 {
		msg += fmt.Sprintf(" (and %d more)", n)
	}
	return &task.Error{Kind: kind, Code: code, Message: msg, Fields: f.fields}
}

// check holds an input against every rule that needs no table. now is the database's clock.
func check(in *Input, now int64, f *faults) {
	f.fields = append(f.fields, in.Broken...)
	if len(in.Broken) > 0 && in.Broken[0].Field == "" {
		return // no object: it has no fields to be wrong
	}
	checkName(f, "kind", in.Kind, MaxKind, kindChars, true)
	checkName(f, "queue", in.Queue, MaxQueue, queueChars, false)
	checkPayloadSize(in, f)
	if _, ok := task.ParsePriority(in.Priority); !ok {
		f.add("priority", "one_of", "must be high, normal or low")
	}
	checkTimes(in, now, f)
	checkUnique(in, f)
	checkLimitKey(f, "limitKey", in.LimitKey)
	checkLabels(in.Labels, f)
	if in.Retry != nil {
		checkRetry(in.Retry, f)
	}
	if in.CompletionURL.Set {
		if msg := checkURL(in.CompletionURL.V); msg != "" {
			f.add("completionUrl", "format", msg)
		}
	}
}

func checkPayloadSize(in *Input, f *faults) {
	if len(in.Payload) > task.MaxPayload {
		f.tooLarge = true
		f.add("payload", "max_length", fmt.Sprintf("must be at most %d bytes", task.MaxPayload))
	}
}

func checkTimes(in *Input, now int64, f *faults) {
	f.inRange("delayMs", in.DelayMs, 0, task.MaxDelayMs)
	if in.RunAt.Set && in.DelayMs.Set {
		f.add("delayMs", "conflict", "runAt and delayMs exclude each other")
	}
	if t := in.TimeoutMs; t.Set && t.V != task.NoTimeout && (t.V < 1 || t.V > task.MaxTimeoutMs) {
		f.add("timeoutMs", "range", fmt.Sprintf("must be 1 … %d, or -1 for none", task.MaxTimeoutMs))
	}
	if !in.ExpiresAt.Set {
		return
	}
	start := now
	if in.DelayMs.Set {
		start = now + in.DelayMs.V
	} else if in.RunAt.Set {
		start = max(now, in.RunAt.V)
	}
	if in.ExpiresAt.V <= start {
		if in.ExpiresAt.V > in.RunAt.V || !in.RunAt.Set {
			f.byClock = true
		}
		f.add("expiresAt", "after", "must be later than the time the task may start")
	}
}

func checkUnique(in *Input, f *faults) {
	if !in.UniqueKey.Set {
		for _, x := range [...]struct {
			field string
			set   bool
		}{{"uniqueScope", in.UniqueScope != ""}, {"uniqueWindowMs", in.UniqueWindowMs.Set}, {"uniqueOnConflict", in.UniqueOnConflict != ""}} {
			if x.set {
				f.add(x.field, "requires", "has no meaning without uniqueKey")
			}
		}
	} else if n := len(in.UniqueKey.V); n < 1 || n > MaxUniqueKey {
		f.add("uniqueKey", "length", fmt.Sprintf("must be 1 … %d bytes", MaxUniqueKey))
	}
	scope, ok := parseUniqueScope(in.UniqueScope)
	if !ok {
		f.add("uniqueScope", "one_of", "must be until_due, until_started, until_finished, window or forever")
	}
	if _, ok := parseUniqueConflict(in.UniqueOnConflict); !ok {
		f.add("uniqueOnConflict", "one_of", "must be reject, keep or replace")
	}
	f.inRange("uniqueWindowMs", in.UniqueWindowMs, 1, task.MaxDelayMs)
	if scope == task.ScopeWindow && !in.UniqueWindowMs.Set {
		f.add("uniqueWindowMs", "required", "is required with uniqueScope window")
	}
	if scope != task.ScopeWindow && ok && in.UniqueWindowMs.Set && in.UniqueKey.Set {
		f.add("uniqueWindowMs", "conflict", "only goes with uniqueScope window")
	}
}

func checkLabels(labels []task.Label, f *faults) {
	if len(labels) > MaxLabels {
		f.add("labels", "max_items", fmt.Sprintf("must be at most %d", MaxLabels))
		return
	}
	for i, l := range labels {
		if n := utf8.RuneCountInString(l.Key); n < 1 || n > MaxLabelKey {
			f.add("labels."+clip(l.Key), "length", fmt.Sprintf("a label's name must be 1 … %d characters", MaxLabelKey))
		}
		if utf8.RuneCountInString(l.Value) > MaxLabelValue {
			f.add("labels."+clip(l.Key), "max_length", fmt.Sprintf("a label's value must be at most %d characters", MaxLabelValue))
		}
		for _, o := range labels[:i] {
			// Some databases compare without trailing spaces: two such labels would be one row.
			if strings.TrimRight(o.Key, " ") == strings.TrimRight(l.Key, " ") {
				f.add("labels."+clip(l.Key), "duplicate", "is given twice (trailing spaces do not tell names apart)")
			}
		}
	}
}

func checkRetry(r *RetryInput, f *faults) {
	switch r.Policy {
	case "", "fixed", "linear", "exponential":
		if r.DelaysMs != nil {
			f.add("retry.delaysMs", "conflict", "only goes with policy list")
		}
	case "list":
		checkDelays(r.DelaysMs, f)
	default:
		f.add("retry.policy", "one_of", "must be fixed, linear, exponential or list")
	}
	f.inRange("retry.baseMs", r.BaseMs, 1, MaxRetryMs)
	f.inRange("retry.capMs", r.CapMs, 1, MaxRetryMs)
	base := int64(1_000)
	if r.BaseMs.Set {
		base = r.BaseMs.V
	}
	if r.CapMs.Set && r.CapMs.V < base {
		f.add("retry.capMs", "min", "must not be less than retry.baseMs")
	}
	if r.Jitter.Set && !(r.Jitter.V >= 0 && r.Jitter.V <= 1) {
		f.add("retry.jitter", "range", "must be 0 … 1")
	}
	f.inRange("retry.max", r.Max, 0, MaxRetries)
}

func checkDelays(d []int64, f *faults) {
	if len(d) < 1 || len(d) > MaxRetryDelays {
		f.add("retry.delaysMs", "items", fmt.Sprintf("must have 1 … %d entries", MaxRetryDelays))
		return
	}
	for i, ms := range d {
		if ms < 0 || ms > MaxRetryMs {
			f.add(fmt.Sprintf("retry.delaysMs[%d]", i), "range", fmt.Sprintf("must be 0 … %d", MaxRetryMs))
		}
	}
}

// policy is the policy in force; nil for the default one, which bodies leave out.
func (r *RetryInput) policy() *task.RetryPolicy {
	if r == nil {
		return nil
	}
	p := task.DefaultRetry()
	if r.Policy != "" {
		p.Policy = r.Policy
	}
	if p.Policy != "exponential" {
		p.Jitter = 0
	}
	p.BaseMs = r.BaseMs.or(p.BaseMs)
	p.CapMs = r.CapMs.or(max(p.CapMs, p.BaseMs))
	p.Jitter = r.Jitter.or(p.Jitter)
	p.Max = int(r.Max.or(int64(p.Max)))
	p.DelaysMs = r.DelaysMs
	if p.IsDefault() {
		return nil
	}
	return &p
}

func (m Maybe[T]) or(d T) T {
	if m.Set {
		return m.V
	}
	return d
}

const (
	kindChars  = "._-"
	queueChars = "_-"
)

// ValidQueue reports whether a name can be a queue's: 1–40 of a-z, 0-9, _ and -.
func ValidQueue(name string) bool { return validName(name, MaxQueue, queueChars) }

// ValidKind reports whether a name can be a kind's: 1–64 of a-z, 0-9, ., _ and -.
func ValidKind(name string) bool { return validName(name, MaxKind, kindChars) }

func validName(s string, most int, extra string) bool {
	if len(s) < 1 || len(s) > most {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte(extra, c) < 0 {
			return false
		}
	}
	return true
}

func checkName(f *faults, field, s string, most int, extra string, required bool) {
	if s == "" {
		if required && !f.has(field) {
			f.add(field, "required", "is required")
		}
		return
	}
	if !validName(s, most, extra) {
		f.add(field, "pattern", fmt.Sprintf("must be 1–%d of a-z, 0-9 and %s", most, strings.Join(strings.Split(extra, ""), " ")))
	}
}

func (f *faults) has(field string) bool {
	for _, x := range f.fields {
		if x.Field == field {
			return true
		}
	}
	return false
}

func parseUniqueScope(s string) (task.UniqueScope, bool) {
	switch s {
	case "until_due":
		return task.ScopeUntilDue, true
	case "until_started":
		return task.ScopeUntilStarted, true
	case "", "until_finished":
		return task.ScopeUntilFinished, true
	case "window":
		return task.ScopeWindow, true
	case "forever":
		return task.ScopeForever, true
	}
	return 0, false
}

// UniqueScopeName is the scope on the wire.
func UniqueScopeName(s task.UniqueScope) string {
	for _, name := range [...]string{"until_due", "until_started", "until_finished", "window", "forever"} {
		if x, _ := parseUniqueScope(name); x == s {
			return name
		}
	}
	return ""
}

// UniqueConflictName is what happens when a key is taken, on the wire.
func UniqueConflictName(c task.UniqueConflict) string {
	for _, name := range [...]string{"reject", "keep", "replace"} {
		if x, _ := parseUniqueConflict(name); x == c {
			return name
		}
	}
	return ""
}

func parseUniqueConflict(s string) (task.UniqueConflict, bool) {
	switch s {
	case "", "reject":
		return task.OnConflictReject, true
	case "keep":
		return task.OnConflictKeep, true
	case "replace":
		return task.OnConflictReplace, true
	}
	return 0, false
}

// clip keeps a client's text short inside an error.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	for n := most; n > most-utf8.UTFMax; n-- {
		if utf8.RuneStart(s[n]) {
			return s[:n] + "…"
		}
	}
	return s[:most] + "…"
}
