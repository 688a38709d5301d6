package control

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	maxName        = 100 // characters
	maxCallbackURL = 2048
	maxWeight      = 1000
	defaultWeight  = 1
	bootstrapApp   = "default"
	maxStep        = 3600 // seconds
	maxRetryTotal  = 10
	maxRemark      = 255 // characters
)

// What a public key and a signing secret may be that an app brings with it.
const (
	maxAppKey   = 16
	appKeyChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	minSecret   = 16
	maxSecret   = 128
)

// AppInput is what can be set of an app. Fields that are not set stay as they are.
type AppInput struct {
	Name        Maybe[string] // 1–100 characters
	CallbackURL Maybe[string] // http or https; "": none
	Weight      Maybe[int64]  // share of a contended lane, 1 … 1,000
	Paused      Maybe[bool]
	KeepAll     Maybe[bool] // keep deliveries that succeed at once too
	Disabled    Maybe[bool] // refuse its credentials and new tasks
	Broken      []task.FieldError

	// What the legacy surfaces keep (task.Legacy).
	Step          Maybe[int64]  // 1 … 3,600 s
	RetryTotal    Maybe[int64]  // 0 … 10
	Remark        Maybe[string] // ≤ 255 characters
	HeaderStyle   Maybe[string] // hyphen or underscore
	SignatureMode Maybe[string] // token or strict
	Surface       string        // of a new app: where it is made
	DigitKey      bool          // of a new app: its public key consists of digits, as older clients keep it

	// Of a new app that moves here with clients and receivers that know these: otherwise both are drawn.
	Key    Maybe[string] // public key: 1–16 of A-Z a-z 0-9 _ -
	Secret Maybe[string] // signing secret: 16–128 printable ASCII characters, no space

	Limits Maybe[LimitsInput] // over all queues; replaces them all
}

// CreateApp makes an app with a public key and a signing secret, which is shown this once. Needs scope admin.
func (s *Service) CreateApp(ctx context.Context, p Principal, in AppInput) (app task.App, signingSecret string, err error) {
	if err := p.need(task.ScopeAdmin); err != nil {
		return app, "", err
	}
	return s.makeApp(ctx, p, in)
}

// makeApp is CreateApp for those who may.
func (s *Service) makeApp(ctx context.Context, p Principal, in AppInput) (app task.App, signingSecret string, err error) {
	if err := in.check(true); err != nil {
		return app, "", err
	}
	app, signingSecret, err = s.newApp(in.Name.V, in.Secret.V)
	if err != nil {
		return app, "", err
	}
	in.apply(&app)
	app.Key = in.Key.or(app.Key)
	app.Legacy.Surface = in.Surface
	tctx, e := s.trail(ctx, p, "app.create", app.Key)
	for try := 0; ; try++ {
		if in.DigitKey {
			app.Key = randomDigits(16)
		}
		var made task.App
		e.Target, e.After = app.Key, appDocument(app)
		made, err = s.store.CreateApp(tctx, app)
		if in.DigitKey && try < 3 && task.CodeOf(err) == "app_key_taken" {
			continue // 53 bits: unlikely, not impossible
		}
		if err != nil {
			return app, "", err
		}
		app = made
		break
	}
	if in.Key.Set {
		s.creds.forget() // its clients may have been refused before
	}
	s.recorded(ctx, p, e)
	return app, signingSecret, nil
}

var errNoSecrets = errors.New("no way to seal secrets is configured")

// newSecret draws a signing secret of 32 characters.
func (s *Service) newSecret() (sealed []byte, secret string, err error) {
	secret = randomText(32)
	sealed, err = s.seal(secret)
	return sealed, secret, err
}

// seal encrypts a signing secret for the database.
func (s *Service) seal(secret string) (sealed []byte, err error) {
	if s.secrets == nil {
		return nil, errNoSecrets
	}
	if sealed, err = s.secrets.Seal([]byte(secret)); err != nil {
		return nil, fmt.Errorf("seal signing secret: %w", err)
	}
	return sealed, nil
}

// newApp draws a public key of 16 characters, and a signing secret unless one is given.
func (s *Service) newApp(name, secret string) (task.App, string, error) {
	if secret == "" {
		secret = randomText(32)
	}
	sealed, err := s.seal(secret)
	if err != nil {
		return task.App{}, "", err
	}
	return task.App{Key: randomText(16), Name: name, Weight: defaultWeight, Secret: sealed, CreatedAt: s.clock.Now(),
		Legacy: task.Legacy{RetryTotal: -1}}, secret, nil
}

// randomDigits draws n decimal digits, the first of which is not 0.
func randomDigits(n int) string {
	out := make([]byte, n)
	raw := make([]byte, 1)
	for i := range out {
		for first := true; first || raw[0] >= 250 || i == 0 && raw[0]%10 == 0; first = false {
			rand.Read(raw) // never fails
		}
		out[i] = '0' + raw[0]%10
	}
	return string(out)
}

// randomText draws n characters of a-z and 2-7, five random bits each.
func randomText(n int) string {
	raw := make([]byte, (n*5+7)/8)
	rand.Read(raw) // never fails
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw))[:n]
}

// checkBrought checks what an app brings with it when it moves here.
func (in AppInput) checkBrought(create bool, f *faults) {
	if v := in.Key.V; in.Key.Set && !create {
		f.add("id", "not_allowed", "cannot be changed")
	} else if in.Key.Set && (len(v) < 1 || len(v) > maxAppKey || strings.Trim(v, appKeyChars) != "") {
		f.add("id", "format", "must be 1 … 16 of A-Z, a-z, 0-9, _ and -")
	}
	if in.Disabled.Set && create {
		f.add("disabled", "not_allowed", "is for apps that exist")
	}
	if v := in.Secret.V; in.Secret.Set && !create {
		f.add("signingSecret", "not_allowed", "cannot be changed here: POST /v1/apps/{app}/secret makes a new one")
	} else if in.Secret.Set && (len(v) < minSecret || len(v) > maxSecret || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' })) {
		f.add("signingSecret", "format", "must be 16 … 128 printable ASCII characters without spaces")
	}
}

func (in AppInput) check(create bool) error {
	f := faults{fields: in.Broken}
	in.checkBrought(create, &f)
	if n := utf8.RuneCountInString(in.Name.V); in.Name.Set && (n < 1 || n > maxName || !printable(in.Name.V)) {
		f.add("name", "length", "must be 1 … 100 printable characters")
	} else if create && !in.Name.Set && !f.has("name") {
		f.add("name", "required", "is required")
	}
	if in.CallbackURL.Set && in.CallbackURL.V != "" {
		if msg := checkURL(in.CallbackURL.V); msg != "" {
			f.add("callbackUrl", "format", msg)
		}
	}
	f.inRange("weight", in.Weight, 1, maxWeight)
	f.inRange("step", in.Step, 1, maxStep)
	f.inRange("retryTotal", in.RetryTotal, 0, maxRetryTotal)
	if in.Remark.Set && (utf8.RuneCountInString(in.Remark.V) > maxRemark || !utf8.ValidString(in.Remark.V) || strings.ContainsRune(in.Remark.V, 0)) {
		f.add("remark", "max_length", "must be at most 255 characters")
	}
	if v := in.HeaderStyle.V; in.HeaderStyle.Set && v != task.HeaderHyphen && v != task.HeaderUnderscore {
		f.add("callbackHeaderStyle", "one_of", "must be hyphen or underscore")
	}
	if v := in.SignatureMode.V; in.SignatureMode.Set && v != task.SignatureToken && v != task.SignatureStrict {
		f.add("signatureMode", "one_of", "must be token or strict")
	}
	in.Limits.V.limits(&f, "limits.")
	return f.err()
}

func (in AppInput) apply(a *task.App) {
	a.Name = in.Name.or(a.Name)
	a.CallbackURL = in.CallbackURL.or(a.CallbackURL)
	a.Weight = int(in.Weight.or(int64(a.Weight)))
	a.Paused = in.Paused.or(a.Paused)
	a.KeepDeliveries = in.KeepAll.or(a.KeepDeliveries)
	a.Disabled = in.Disabled.or(a.Disabled)
	a.Legacy.Step = int(in.Step.or(int64(a.Legacy.Step)))
	a.Legacy.RetryTotal = int(in.RetryTotal.or(int64(a.Legacy.RetryTotal)))
	a.Legacy.Remark = in.Remark.or(a.Legacy.Remark)
	a.Legacy.HeaderStyle = in.HeaderStyle.or(a.Legacy.HeaderStyle)
	a.Legacy.SignatureMode = in.SignatureMode.or(a.Legacy.SignatureMode)
	if in.Limits.Set {
		a.Limits = in.Limits.V.limits(&faults{}, "")
	}
}

// checkURL says what is wrong with a URL that we shall call. Where it leads is checked when it is dialled, after DNS.
func checkURL(s string) string {
	u, err := url.Parse(s)
	switch {
	case len(s) > maxCallbackURL:
		return fmt.Sprintf("must be at most %d bytes", maxCallbackURL)
	case err != nil, u.Host == "", u.Hostname() == "":
		return "must be an absolute URL with a host"
	case u.Scheme != "http" && u.Scheme != "https":
		return "must be http or https"
	case u.User != nil:
		return "must not hold a user name or password"
	case u.Fragment != "":
		return "must not have a fragment"
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return "must have a port of 1 … 65535"
		}
	}
	return ""
}

// printable reports whether a text can be shown as it is, on one line. Beside what Go calls printable that is the space of Chinese and
// Japanese writing.
func printable(s string) bool {
	for _, r := range s {
		if r != '\u3000' && !unicode.IsPrint(r) {
			return false
		}
	}
	return utf8.ValidString(s)
}

// Apps lists the apps: an admin sees all, others their own. Needs scope read.
func (s *Service) Apps(ctx context.Context, p Principal) ([]task.App, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return nil, err
	}
	if p.Scope >= task.ScopeAdmin {
		return s.store.Apps(ctx)
	}
	app, err := s.store.AppByID(ctx, p.App.ID)
	return []task.App{app}, err
}

// App gives an app by its public key: an admin any, others their own. Needs scope read.
func (s *Service) App(ctx context.Context, p Principal, key string) (task.App, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return task.App{}, err
	}
	if p.Scope < task.ScopeAdmin && key != p.App.Key {
		return task.App{}, task.Missing("app")
	}
	if len(key) > 64 {
		return task.App{}, task.Missing("app")
	}
	return s.store.AppByKey(ctx, key)
}

// UpdateApp changes what is set in the input. guard, when not nil, is asked with the app as it is and may refuse. Needs
// scope admin.
func (s *Service) UpdateApp(ctx context.Context, p Principal, key string, in AppInput, guard func(task.App) error) (task.App, error) {
	if err := p.need(task.ScopeAdmin); err != nil {
		return task.App{}, err
	}
	if err := in.check(false); err != nil {
		return task.App{}, err
	}
	app, err := s.App(ctx, p, key)
	if err != nil {
		return task.App{}, err
	}
	if guard != nil {
		if err := guard(app); err != nil {
			return task.App{}, err
		}
	}
	if in.Disabled.V && (app.Key == task.SystemApp || app.Key == p.by.App) {
		return task.App{}, &task.Error{Kind: task.Conflict, Code: "app_needed", Message: "neither the app of the key that asks nor the system's own can be disabled"}
	}
	tctx, e := s.trail(ctx, p, "app.update", app.Key)
	e.Before = appDocument(app)
	in.apply(&app)
	e.After = appDocument(app)
	if err := s.store.UpdateApp(tctx, app); err != nil {
		return task.App{}, err
	}
	s.creds.forget()
	s.recorded(ctx, p, e)
	return app, nil
}

// RotateSecret gives an app a new signing secret, which is shown this once. Workers sign with it after 5 s at the latest.
// Needs scope admin.
func (s *Service) RotateSecret(ctx context.Context, p Principal, key string) (app task.App, signingSecret string, err error) {
	return s.RotateSecretKeeping(ctx, p, key, 0)
}

// CreateAPIKey makes an API key for an app. The key is shown this once; only its hash is stored. Needs scope admin.
func (s *Service) CreateAPIKey(ctx context.Context, p Principal, appKey, name, scope string) (k task.APIKey, plain string, err error) {
	if err := p.need(task.ScopeAdmin); err != nil {
		return k, "", err
	}
	var f faults
	sc, ok := ParseScope(scope)
	if !ok {
		f.add("scope", "one_of", "must be read, submit, manage or admin")
	}
	if utf8.RuneCountInString(name) > maxName || !printable(name) {
		f.add("name", "length", "must be at most 100 printable characters")
	}
	if err := f.err(); err != nil {
		return k, "", err
	}
	app, err := s.App(ctx, p, appKey)
	if err != nil {
		return k, "", err
	}
	raw := make([]byte, 32)
	rand.Read(raw) // never fails
	plain = "tw_" + base64.RawURLEncoding.EncodeToString(raw)
	tctx, e := s.trail(ctx, p, "key.create", "")
	e.After = document(map[string]string{"app": app.Key, "name": name, "scope": scope, "hint": hint(plain)})
	k, err = s.store.CreateAPIKey(tctx, task.APIKey{AppID: app.ID, Hash: sha256.Sum256([]byte(plain)), Hint: hint(plain), Name: name, Scope: sc, CreatedAt: s.clock.Now()})
	if err != nil {
		return k, "", err
	}
	s.creds.forget()
	s.recorded(ctx, p, e, "for", app.Key, "scope", scope)
	return k, plain, nil
}

func hint(key string) string { return key[len(key)-4:] }

// APIKeys lists the keys of an app, revoked ones too. Needs scope admin.
func (s *Service) APIKeys(ctx context.Context, p Principal, appKey string) ([]task.APIKey, error) {
	if err := p.need(task.ScopeAdmin); err != nil {
		return nil, err
	}
	app, err := s.App(ctx, p, appKey)
	if err != nil {
		return nil, err
	}
	return s.store.APIKeys(ctx, app.ID)
}

// RevokeAPIKey ends a key: here at once, in other processes within 5 s. Needs scope admin.
func (s *Service) RevokeAPIKey(ctx context.Context, p Principal, appKey string, id int64) error {
	if err := p.need(task.ScopeAdmin); err != nil {
		return err
	}
	app, err := s.App(ctx, p, appKey)
	if err != nil {
		return err
	}
	tctx, e := s.trail(ctx, p, "key.revoke", id)
	e.Before = document(map[string]string{"app": app.Key})
	if err := s.store.RevokeAPIKey(tctx, app.ID, id); err != nil {
		return err
	}
	s.creds.forget()
	if e.Written { // else it was revoked before
		s.recorded(ctx, p, e, "for", app.Key)
	}
	return nil
}

// Bootstrap takes the configured key over: an API key with scope admin of the app "default", which is made when it is
// missing. It replaces the bootstrap key of an earlier start. The key is 16–128 printable ASCII characters.
func (s *Service) Bootstrap(ctx context.Context, key string) error {
	if len(key) < keyMin || len(key) > keyMax {
		return fmt.Errorf("the bootstrap key must have %d–%d characters", keyMin, keyMax)
	}
	for i := 0; i < len(key); i++ {
		if key[i] < ' ' || key[i] > '~' || strings.TrimSpace(key) != key {
			return errors.New("the bootstrap key must consist of printable ASCII characters and not begin or end with a space")
		}
	}
	app, _, err := s.newApp(bootstrapApp, "")
	if err != nil {
		return err
	}
	if err := s.store.TakeBootstrapKey(ctx, app, sha256.Sum256([]byte(key)), hint(key)); err != nil {
		return fmt.Errorf("take the bootstrap key: %w", err)
	}
	s.creds.forget()
	return nil
}
