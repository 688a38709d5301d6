package control

import (
	"context"
	"fmt"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// Signer is an app that proves itself by signing its requests, as legacy surfaces let it, instead of sending an API key.
// The surface checks the signature before it acts for the principal.
type Signer struct {
	Principal Principal // with scope submit
	Secrets   []string  // what the app may sign with, newest first; never to be logged
	oldUntil  int64     // when the second of them ends
}

// at is the signer at an instant: a secret that was replaced ends to the millisecond, however long ago it was read.
func (s Signer) at(now int64) Signer {
	if len(s.Secrets) > 1 && s.oldUntil <= now {
		s.Secrets = s.Secrets[:1]
	}
	return s
}

// signer is what was found of an app key.
type signer struct {
	found Signer
	err   error
	at    time.Time
}

// SignerOf gives the app with a public key as one that signs. Missing when there is none, or it is disabled; Unavailable when the database has
// to be asked and does not answer. Answers are remembered for up to 5 s, refusals too. The secret before the present one is among
// them as long as it signs callbacks (RotateSecretKeeping).
func (s *Service) SignerOf(ctx context.Context, appKey string) (Signer, error) {
	if len(appKey) < 1 || len(appKey) > 64 {
		return Signer{}, task.Missing("app")
	}
	if e, ok := s.creds.signer(appKey); ok {
		return e.found.at(s.clock.Now()), e.err
	}
	found, err := s.readSigner(ctx, appKey)
	if err == nil || task.KindOf(err) == task.NotFound {
		s.creds.putSigner(appKey, found, err)
	}
	return found.at(s.clock.Now()), err
}

func (s *Service) readSigner(ctx context.Context, appKey string) (Signer, error) {
	app, err := s.store.AppByKey(ctx, appKey)
	if err != nil {
		return Signer{}, err
	}
	if app.Disabled || app.Key != appKey { // a database that ignores case or trailing spaces
		return Signer{}, task.Missing("app")
	}
	if s.secrets == nil {
		return Signer{}, errNoSecrets
	}
	plain, err := s.secrets.Open(app.Secret)
	if err != nil {
		return Signer{}, fmt.Errorf("open the signing secret of app %s: %w", app.Key, err)
	}
	found := Signer{Principal: Principal{App: app, Scope: task.ScopeSubmit, by: task.Actor{App: app.Key, Scope: task.ScopeSubmit}}, Secrets: []string{string(plain)}}
	if len(app.OldSecret) > 0 && app.OldSecretUntil > s.clock.Now() {
		if plain, err = s.secrets.Open(app.OldSecret); err != nil {
			return Signer{}, fmt.Errorf("open the old signing secret of app %s: %w", app.Key, err)
		}
		found.Secrets, found.oldUntil = append(found.Secrets, string(plain)), app.OldSecretUntil
	}
	return found, nil
}

func (c *credentials) signer(appKey string) (signer, bool) {
	c.mu.RLock()
	e, ok := c.signers[appKey]
	c.mu.RUnlock()
	return e, ok && time.Since(e.at) < credentialTTL
}

func (c *credentials) putSigner(appKey string, found Signer, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.signers) >= credentialsMax {
		for k, e := range c.signers { // refusals before apps: guessing does not push out real ones
			if e.err != nil || time.Since(e.at) >= credentialTTL || len(c.signers) >= 2*credentialsMax {
				delete(c.signers, k)
			}
		}
	}
	if c.signers == nil {
		c.signers = make(map[string]signer)
	}
	c.signers[appKey] = signer{found, err, time.Now()}
}

// RegisterApp makes an app for somebody who comes through a legacy surface, where there is no credential yet. Whoever it is
// needs an API key with scope admin, unless the process listens on a loopback address only (Options.OpenRegistration):
// Unauthorized or Forbidden otherwise. via says where the request came through (Principal.Via). Errors for input are those of CreateApp.
func (s *Service) RegisterApp(ctx context.Context, bearer string, via Principal, in AppInput) (app task.App, signingSecret string, err error) {
	who := Principal{by: via.by, request: via.request}
	if !s.openRegistration {
		if who, err = s.Authenticate(ctx, bearer); err != nil {
			return app, "", err
		}
		who = who.Via(via.by.Surface, via.by.Address, via.request)
		if err := who.need(task.ScopeAdmin); err != nil {
			return app, "", err
		}
	}
	return s.makeApp(ctx, who, in)
}

// CancelNow is Cancel for callers who must hear that they came too late: Conflict "task_final" when the task was final before, or
// ended in another way than by this cancel; Conflict "cancel_requested" when somebody has asked for it already. Nothing is
// changed then. Needs scope submit.
func (s *Service) CancelNow(ctx context.Context, p Principal, id int64, d time.Duration) (task.View, error) {
	v, rep, err := s.cancel(ctx, p, id, d)
	switch {
	case err != nil:
		return v, err
	case rep.Found.Final():
		return v, &task.Error{Kind: task.Conflict, Code: "task_final", TaskID: id, Message: "the task is over: it is " + v.State.Shown(v.DueAt, s.Now())}
	case rep.Asked:
		return v, &task.Error{Kind: task.Conflict, Code: "cancel_requested", TaskID: id, Message: "the task is being cancelled"}
	case v.State.Final() && v.State != task.Cancelled:
		return v, &task.Error{Kind: task.Conflict, Code: "task_final", TaskID: id, Message: "the task ended before it could be cancelled"}
	}
	return v, nil
}

// RunAgain makes a task due now, wherever it stands: a final one is re-opened, also a succeeded one, a waiting one is pulled
// forward. Conflict "task_running" when it runs. Needs scope submit.
//
// Each of the two arrows is guarded by the store; a task that moves between them is asked again.
func (s *Service) RunAgain(ctx context.Context, p Principal, id int64) (task.View, error) {
	for range 3 {
		v, err := s.Retry(ctx, p, id, true)
		if task.CodeOf(err) != "not_retryable" {
			return v, err
		}
		v, err = s.RunNow(ctx, p, id)
		if task.CodeOf(err) != "not_waiting" {
			return v, err
		}
		if v, err = s.view(ctx, p, id); err != nil {
			return v, err
		}
		if v.State == task.Running {
			break
		}
	}
	return task.View{}, &task.Error{Kind: task.Conflict, Code: "task_running", TaskID: id, Message: "the task is running"}
}
