package control

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// Attempt gives one attempt of a task, with how its call went as far as that was kept. Missing when the task has no such attempt.
// Needs scope read.
func (s *Service) Attempt(ctx context.Context, p Principal, id, attemptID int64) (task.Attempt, error) {
	v, err := s.Get(ctx, p, id)
	if err != nil {
		return task.Attempt{}, err
	}
	at := slices.IndexFunc(v.Attempts, func(a task.Attempt) bool { return a.ID == attemptID })
	if at < 0 {
		return task.Attempt{}, task.Missing("attempt")
	}
	return v.Attempts[at], nil
}

// Resend sends once more what a task sends: a final one is re-opened, whatever its end was, and one that waits is pulled forward.
// Conflict while an attempt is under way. Needs scope submit.
func (s *Service) Resend(ctx context.Context, p Principal, id int64) (task.View, error) {
	if err := p.need(task.ScopeSubmit); err != nil {
		return task.View{}, err
	}
	row, err := s.store.State(ctx, p.appID(), id)
	if err != nil {
		return task.View{}, err
	}
	if row.State.Final() {
		return s.Retry(ctx, p, id, true)
	}
	return s.RunNow(ctx, p, id)
}

// The probe of an app's receiver (runner/httpcall).
const (
	probeKind      = "callback.test"
	probeTimeoutMs = 45_000
)

// TestCallback has a worker call the app's receiver as a callback would, and explains what the receiver did wrong. kind is the kind
// of callbacks to try; "": callback. It takes up to MaxWait; Unavailable (no_worker) when no worker knows such tests, or none ran it by then. Needs scope manage.
func (s *Service) TestCallback(ctx context.Context, p Principal, appKey, kind string) (task.ProbeReport, error) {
	var rep task.ProbeReport
	if err := p.need(task.ScopeManage); err != nil {
		return rep, err
	}
	app, err := s.App(ctx, p, appKey)
	if err != nil {
		return rep, err
	}
	if kind == "" {
		kind = "callback"
	}
	if kind != "callback" && !strings.HasSuffix(kind, ".callback") {
		return rep, task.InvalidField("kind", "one_of", "must be callback, or the kind of callbacks of a surface")
	}
	p.App = app
	raw, err := json.Marshal(map[string]string{"kind": kind})
	if err != nil {
		return rep, err
	}
	done, err := s.Submit(ctx, p, &Input{Kind: probeKind, Payload: raw, Priority: "high", TimeoutMs: Some[int64](probeTimeoutMs), Retry: &RetryInput{Max: Some[int64](0)}}, nil)
	if lacksKind(err) {
		return rep, &task.Error{Kind: task.Unavailable, Code: "no_worker", RetryAfter: time.Second, Message: "no worker that makes the test ever registered: start a worker, then try again"}
	}
	if err != nil {
		return rep, err
	}
	v, err := s.Wait(ctx, p, done.View.ID, MaxWait)
	if err != nil {
		return rep, err
	}
	if !v.State.Final() {
		why, err := s.Verdict(ctx, v)
		if err != nil {
			return rep, err
		}
		if _, err := s.Cancel(ctx, p, v.ID, 0); err != nil {
			return rep, err
		}
		return rep, &task.Error{Kind: task.Unavailable, Code: "no_worker", RetryAfter: time.Second, Message: "no worker made the test in time: " + why.Text, TaskID: v.ID}
	}
	if err := json.Unmarshal(v.Result, &rep); err != nil || v.State != task.Succeeded {
		text := "the worker could not make the test"
		if n := len(v.Attempts); n > 0 && v.Attempts[n-1].ErrMessage != "" {
			text += ": " + v.Attempts[n-1].ErrMessage
		}
		return rep, &task.Error{Kind: task.Conflict, Code: "test_failed", Message: text, TaskID: v.ID}
	}
	_, e := s.trail(ctx, p, "app.test_callback", app.Key)
	e.AppID = app.ID
	s.recorded(ctx, p, e, "kind", kind, "ok", rep.OK)
	return rep, nil
}

// lacksKind tells a submit that was refused because no worker knows the kind: whoever asked for a test did not name it.
func lacksKind(err error) bool {
	e, ok := errors.AsType[*task.Error](err)
	return ok && slices.ContainsFunc(e.Fields, func(f task.FieldError) bool { return f.Field == "kind" && f.Rule == "unknown" })
}

// maxOverlapMs is the longest time that an old signing secret goes on signing beside the new one.
const maxOverlapMs = 30 * 86_400_000

// RotateSecretKeeping gives an app a new signing secret and lets the old one sign beside it for overlapMs (0 … 30 days), so that
// receivers can change at any time between, and clients of legacy surfaces too (SignerOf). Of two at the same moment one is a Conflict. Needs scope admin.
func (s *Service) RotateSecretKeeping(ctx context.Context, p Principal, key string, overlapMs int64) (app task.App, signingSecret string, err error) {
	if overlapMs < 0 || overlapMs > maxOverlapMs {
		return app, "", task.InvalidField("overlapMs", "range", "must be 0 … 2592000000")
	}
	if err := p.need(task.ScopeAdmin); err != nil {
		return app, "", err
	}
	if app, err = s.App(ctx, p, key); err != nil {
		return app, "", err
	}
	was := app.Secret
	app.OldSecret, app.OldSecretUntil = nil, 0
	if overlapMs > 0 {
		app.OldSecret, app.OldSecretUntil = was, s.clock.Now()+overlapMs
	}
	if app.Secret, signingSecret, err = s.newSecret(); err != nil {
		return app, "", err
	}
	tctx, e := s.trail(ctx, p, "app.rotate_secret", app.Key)
	e.After = document(map[string]int64{"overlapMs": overlapMs})
	if err := s.store.SetSecret(tctx, app, was); err != nil {
		return app, "", err
	}
	s.creds.forget()
	s.recorded(ctx, p, e, "overlap_ms", overlapMs)
	return app, signingSecret, nil
}
