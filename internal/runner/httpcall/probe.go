package httpcall

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/runner/payload"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
	"github.com/taskweir/taskweir/pkg/signature"
)

// ProbeKind is the kind of tasks that try an app's receiver out. They run on a worker like the callbacks that they stand for: from
// the same network, through the same guard.
const ProbeKind = "callback.test"

// probeTime is how long one call of a probe may take.
const probeTime = 10 * time.Second

// HeaderProbe marks the calls of a probe, so that a receiver may answer without doing anything.
const HeaderProbe = "Taskweir-Probe"

// Probe runs kind callback.test: it calls the receiver as the dialect would, with the right secret and with a wrong one, and says
// in words what is not well. It succeeds with a task.ProbeReport whatever the receiver does.
type Probe struct {
	runners map[string]*Callback
}

// NewProbe makes a prober of these runners' dialects.
func NewProbe(runners ...*Callback) *Probe {
	p := &Probe{runners: map[string]*Callback{}}
	for _, r := range runners {
		p.runners[r.Kind()] = r
	}
	return p
}

// Kind is callback.test.
func (*Probe) Kind() string { return ProbeKind }

// probeSpec is its payload.
type probeSpec struct {
	Kind string `json:"kind"`           // the kind of callbacks to try: callback, or a surface's
	Body string `json:"body,omitempty"` // the payload to send, as JSON text; "": a marker
}

// CheckProbe finds what is wrong with a payload of kind callback.test.
func CheckProbe(raw []byte) []task.FieldError {
	var p probeSpec
	if wrong := payload.Decode(raw, &p); wrong != nil {
		return []task.FieldError{*wrong}
	}
	if p.Kind == "" {
		return []task.FieldError{{Field: "kind", Rule: "required", Message: "is required"}}
	}
	if p.Body != "" && !json.Valid([]byte(p.Body)) {
		return []task.FieldError{{Field: "body", Rule: "pattern", Message: "must be JSON text"}}
	}
	return nil
}

// try is one call of a probe.
type try struct {
	name   string
	style  string // of the headers that the signature covers
	forged bool   // signed with a secret that is not the app's
}

// Run makes the calls and writes the report.
func (p *Probe) Run(ctx context.Context, job worker.Job) task.Result {
	spec := probeSpec{}
	if err := json.Unmarshal(job.Payload, &spec); err != nil {
		return invalid("is not a probe")
	}
	r := p.runners[spec.Kind]
	if r == nil {
		return invalid("kind " + spec.Kind + " is no kind of callbacks of this worker")
	}
	if job.Payload = []byte(spec.Body); spec.Body == "" {
		job.Payload = []byte(`{"type":"taskweir.test"}`)
	}
	rep := task.ProbeReport{Kind: spec.Kind}
	to, err := r.target(ctx, job.AppID)
	switch {
	case err != nil:
		return task.Result{Outcome: task.OutcomeSnoozed, RetryAfterMs: 1_000, ErrCode: "app_not_read", ErrMessage: "the app could not be read"}
	case to.reject != nil:
		rep.Findings = []string{to.reject.ErrMessage + "."}
	default:
		// A breaker does not hold a probe back, whose purpose is to find out; the number of calls at once does.
		room, no := r.caller.Gate.endpoint(keyOf(job.AppID, to.URL)).enter(ctx, false)
		if no != nil {
			return no.result()
		}
		rep.URL = showURL(to.URL)
		p.tryAll(ctx, r, to, job, &rep)
		room.leave(nothing, 0)
	}
	body, err := json.Marshal(rep)
	if err != nil {
		return invalid(err.Error())
	}
	return task.Result{Outcome: task.OutcomeSucceeded, Body: body}
}

// tryAll calls as often as there is something to learn.
func (p *Probe) tryAll(ctx context.Context, r *Callback, to *target, job worker.Job, rep *task.ProbeReport) {
	styles := []string{""}
	if r.legacy {
		styles = []string{task.HeaderHyphen, task.HeaderUnderscore}
		if to.App.Legacy.HeaderStyle == task.HeaderUnderscore {
			styles = []string{task.HeaderUnderscore, task.HeaderHyphen}
		}
	}
	var answers []Answer
	for _, style := range styles {
		t := try{name: "signed", style: style}
		if style != "" {
			t.name += ", " + style + " names"
		}
		one, a := p.try(ctx, r, to, job, t)
		rep.Tries, answers = append(rep.Tries, one), append(answers, a)
		if a.Status == 0 {
			break // nothing more to learn
		}
	}
	first := &answers[0]
	rep.OK = rep.Tries[0].Accepted
	if first.Status == 0 {
		rep.Findings = append(rep.Findings, unreachable(first, to))
		return
	}
	forged, _ := p.try(ctx, r, to, job, try{name: "signed with a wrong secret", style: styles[0], forged: true})
	rep.Tries = append(rep.Tries, forged)
	rep.Findings = append(rep.Findings, p.findings(r, to, rep, answers, &forged)...)
}

// try makes one call.
func (p *Probe) try(ctx context.Context, r *Callback, to *target, job worker.Job, t try) (task.ProbeTry, Answer) {
	nowMs := r.caller.Clock.Now()
	mine := *to
	mine.App.Legacy.HeaderStyle = t.style
	if t.forged {
		mine.Secret, mine.older = strings.Repeat("x", 32), nil
		mine.secret = signature.Secret(mine.Secret)
	}
	out := task.ProbeTry{Name: t.name, Forged: t.forged}
	call, err := r.dialect.Build(mine.Target, job, time.UnixMilli(nowMs))
	if err != nil {
		out.Error = err.Error()
		return out, Answer{Code: "invalid_payload", Message: err.Error()}
	}
	req, bad := r.request(&mine, &call)
	if bad != nil {
		out.Error = bad.ErrMessage
		return out, Answer{Code: bad.ErrCode, Message: bad.ErrMessage}
	}
	r.caller.identify(req.header, &job)
	req.header[HeaderProbe] = []string{"1"}
	mine.sign(req, "probe_"+strconv.FormatInt(job.TaskID, 10), nowMs)
	ctx, cancel := context.WithTimeoutCause(ctx, probeTime, worker.ErrTimeout)
	defer cancel()
	start := time.Now()
	a := r.caller.exchange(ctx, req)
	out.DurationMs = time.Since(start).Milliseconds()
	res := r.dialect.Judge(a)
	out.Status, out.Accepted, out.Body = a.Status, res.Outcome == task.OutcomeSucceeded, showBody(a.Body)
	if a.Code != "" {
		out.Error = a.Code + ": " + a.Message
	}
	return out, a
}

// unreachable explains a call that got no answer at all.
func unreachable(a *Answer, to *target) string {
	host := to.URL.Host
	switch a.Code {
	case codeRefused:
		return "The guard refused " + host + ": " + a.Message + ". Use a public address, or allow the network with TASKWEIR_OUTBOUND_ALLOW on the workers."
	case "name_not_resolved":
		return "The name of " + host + " does not resolve on the worker (" + a.Message + "): look for a typing error in the callback URL, and at the worker's DNS."
	case "certificate_refused":
		return "TLS failed: " + a.Message + ". The certificate must be valid now, for this name, and signed by an authority that the worker knows, with its intermediate certificates."
	case codeInterrupted:
		return "Nothing answered within " + probeTime.String() + ": the receiver accepts the connection or swallows it, and says nothing. Look for a firewall, or for work that should be done after the answer."
	}
	return "The connection to " + host + " failed: " + a.Message + ". Is the receiver running, is this its port, and is it http or https?"
}

// findings explains answers.
func (p *Probe) findings(r *Callback, to *target, rep *task.ProbeReport, answers []Answer, forged *task.ProbeTry) (out []string) {
	a := &answers[0]
	other := len(answers) > 1 && rep.Tries[1].Accepted
	switch {
	case rep.OK && forged.Accepted:
		out = append(out, "The receiver took a call with a wrong signature too: it does not verify signatures, so anybody can call it.")
	case rep.OK && (forged.Error != "" || forged.Status >= 500 || forged.Status == http.StatusTooManyRequests):
		out = append(out, "The receiver takes what is signed well. Whether it verifies signatures cannot be told: it did not refuse the call with a wrong one, "+
			"it failed at it. Answer 401 or 403 to what does not verify.")
	case rep.OK:
		out = append(out, "The receiver verifies signatures and takes what is signed well.")
	case other:
		out = append(out, "The receiver expects the other names in the signature: set callbackHeaderStyle to "+otherStyle(to)+".")
	case r.legacy && a.Status < 400 && a.Code == "":
		out = append(out, fmt.Sprintf("It answered %d, but by the surface's document the body decides: it must be exactly success, and was %q.", a.Status, cut(string(a.Body), 80)))
	default:
		out = append(out, refusedBecause(a))
	}
	if rep.OK && len(answers) > 1 && other && !forged.Accepted {
		out = append(out, "It takes both spellings of the signed header names.")
	}
	if skew := clockSkew(a, r.caller.Clock.Now()); skew != 0 {
		out = append(out, fmt.Sprintf("The receiver's clock is %s from the database's: signatures more than %s off are refused.", skew, signature.Tolerance))
	}
	return out
}

func otherStyle(to *target) string {
	if to.App.Legacy.HeaderStyle == task.HeaderUnderscore {
		return task.HeaderHyphen
	}
	return task.HeaderUnderscore
}

// refusedBecause guesses from the status why a well signed call was not taken.
func refusedBecause(a *Answer) string {
	text := ""
	if len(a.Body) > 0 {
		text = fmt.Sprintf(" It said: %q.", cut(string(a.Body), 200))
	}
	switch s := a.Status; {
	case a.Code != "":
		return "The answer broke off: " + a.Message + "."
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		return fmt.Sprintf("It answered %d to a good signature. Common reasons: it has another secret; it verifies a parsed and re-encoded body instead of the raw bytes; "+
			"its clock is off; a proxy in front of it drops the Webhook headers, or asks for a login.", s) + text
	case s == http.StatusNotFound || s == http.StatusMethodNotAllowed:
		return fmt.Sprintf("It answered %d: the path of the callback URL is not where POST is handled.", s) + text
	case s >= 300 && s <= 399:
		return fmt.Sprintf("It answered %d, a redirect to %q that is not followed: set the callback URL to where it leads.", s, cut(a.Header.Get("Location"), 200))
	case s == http.StatusTooManyRequests || s == http.StatusServiceUnavailable:
		return fmt.Sprintf("It answered %d: it wants to be called later.", s) + text
	case s >= 500:
		return fmt.Sprintf("It answered %d: it failed while it handled the call; its own log says why.", s) + text
	}
	return fmt.Sprintf("It answered %d; only 2xx is a success.", a.Status) + text
}

// clockSkew is how far the receiver's Date is from now when that matters; 0: it does not, or says nothing.
func clockSkew(a *Answer, nowMs int64) time.Duration {
	at, err := http.ParseTime(a.Header.Get("Date"))
	if err != nil {
		return 0
	}
	d := at.Sub(time.UnixMilli(nowMs)).Round(time.Second)
	if d > -time.Minute && d < time.Minute {
		return 0
	}
	return d
}
