package control

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// Principal is who acts: an app, and what its credential may do.
type Principal struct {
	App   task.App
	Scope task.Scope
	KeyID int64 // the API key, for the audit trail
	all   bool  // an admin who asked for every app

	by      task.Actor // whose credential it is, whatever app it acts on
	request string     // id of the request
}

// appID is the app whose things are seen; 0: every app's.
func (p Principal) appID() int32 {
	if p.all {
		return 0
	}
	return p.App.ID
}

func (p Principal) need(s task.Scope) error {
	if p.Scope >= s && p.App.ID != 0 {
		return nil
	}
	return &task.Error{Kind: task.Forbidden, Code: "scope_too_small", Message: "this needs a key with scope " + ScopeName(s)}
}

// one refuses "every app" where exactly one is meant.
func (p Principal) one() error {
	if p.all {
		return task.InvalidField("app", "one_of", "must name one app here")
	}
	return nil
}

// ScopeName is read, submit, manage or admin.
func ScopeName(s task.Scope) string {
	switch s {
	case task.ScopeRead:
		return "read"
	case task.ScopeSubmit:
		return "submit"
	case task.ScopeManage:
		return "manage"
	case task.ScopeAdmin:
		return "admin"
	}
	return "none"
}

// ParseScope knows the names of ScopeName.
func ParseScope(s string) (task.Scope, bool) {
	for _, x := range [...]task.Scope{task.ScopeRead, task.ScopeSubmit, task.ScopeManage, task.ScopeAdmin} {
		if ScopeName(x) == s {
			return x, true
		}
	}
	return 0, false
}

const (
	keyMin, keyMax = 16, 128         // bytes of an API key
	credentialTTL  = 5 * time.Second // a revoked key is refused after this at the latest
	credentialsMax = 4096
)

var errAppDisabled = &task.Error{Kind: task.Forbidden, Code: "app_disabled", Message: "this app is disabled"}

var errCredential = &task.Error{Kind: task.Unauthorized, Code: "unauthorized", Message: "no valid API key"}

// Authenticate gives the principal of an API key. Everything but a live key is Unauthorized; one of a disabled app Forbidden; Unavailable when the
// database has to be asked and does not answer. Answers are remembered for up to 5 s, refusals too.
func (s *Service) Authenticate(ctx context.Context, bearer string) (Principal, error) {
	if len(bearer) < keyMin || len(bearer) > keyMax {
		return Principal{}, errCredential
	}
	hash := sha256.Sum256([]byte(bearer))
	if c, ok := s.creds.get(hash); ok {
		return c.principal, c.err
	}
	p, err := s.lookUp(ctx, hash)
	if err == nil || task.KindOf(err) == task.Unauthorized || errors.Is(err, errAppDisabled) {
		s.creds.put(hash, p, err)
	}
	return p, err
}

func (s *Service) lookUp(ctx context.Context, hash [32]byte) (Principal, error) {
	k, err := s.store.APIKeyByHash(ctx, hash)
	if task.KindOf(err) == task.NotFound && err != nil {
		return Principal{}, errCredential
	}
	if err != nil {
		return Principal{}, err
	}
	if subtle.ConstantTimeCompare(k.Hash[:], hash[:]) != 1 || k.RevokedAt != 0 {
		return Principal{}, errCredential
	}
	app, err := s.store.AppByID(ctx, k.AppID)
	if err != nil {
		return Principal{}, err
	}
	if app.Disabled {
		return Principal{}, errAppDisabled
	}
	return Principal{App: app, Scope: k.Scope, KeyID: k.ID, by: task.Actor{App: app.Key, KeyID: k.ID, KeyName: k.Name, Scope: k.Scope}}, nil
}

// ForApp gives the principal that acts on the app with this public key ("*": reads every app). An admin may; others only
// name their own.
func (s *Service) ForApp(ctx context.Context, p Principal, appKey string) (Principal, error) {
	if appKey == "" || appKey == p.App.Key {
		return p, nil
	}
	if err := p.need(task.ScopeAdmin); err != nil {
		return p, err
	}
	if appKey == "*" {
		p.all = true
		return p, nil
	}
	app, err := s.store.AppByKey(ctx, appKey)
	if err != nil {
		return p, err
	}
	p.App = app
	return p, nil
}

// credentials is a bounded table of what keys were found to be. Entries are found by the hash of the key, so that no
// comparison's time tells anything about a key.
type credentials struct {
	mu      sync.RWMutex
	m       map[[32]byte]credential
	signers map[string]signer // by app key
}

type credential struct {
	principal Principal
	err       error
	at        time.Time
}

func (c *credentials) get(hash [32]byte) (credential, bool) {
	c.mu.RLock()
	e, ok := c.m[hash]
	c.mu.RUnlock()
	return e, ok && time.Since(e.at) < credentialTTL
}

func (c *credentials) put(hash [32]byte, p Principal, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.m) >= credentialsMax {
		c.evict()
	}
	if c.m == nil {
		c.m = make(map[[32]byte]credential)
	}
	c.m[hash] = credential{p, err, time.Now()}
}

// evict drops what is stale, and refusals before keys that work, so that guessing does not push out real keys.
func (c *credentials) evict() {
	for h, e := range c.m {
		if e.err != nil || time.Since(e.at) >= credentialTTL {
			delete(c.m, h)
		}
	}
	for h := range c.m {
		if len(c.m) < credentialsMax {
			return
		}
		delete(c.m, h)
	}
}

// forget drops everything, after a change to apps or keys.
func (c *credentials) forget() {
	c.mu.Lock()
	clear(c.m)
	clear(c.signers)
	c.mu.Unlock()
}
