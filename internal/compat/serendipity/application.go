package serendipity

import (
	"context"
	"crypto/subtle"

	"github.com/taskweir/taskweir/internal/compat"
	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
)

// What an app has that names nothing else, or was made by another surface.
const (
	defaultStep       = 5 // seconds
	defaultRetryTotal = 5
)

const (
	maxAppName = 100 // characters
	maxURL     = 200 // characters
	maxRemark  = 255 // characters
	maxStep    = 3600
	maxRetries = 10
)

// credentials is the answer to creating an app: headers that are ready to be sent, and the secret to make others.
type credentials struct {
	Nonce      string `json:"nonce"`
	Timestamps string `json:"timestamps"`
	Signature  string `json:"signature"`
	AppKey     string `json:"appKey"`
	Payload    string `json:"payload"`
	SecretKey  string `json:"secretKey"`
}

// createApplication makes an app. It is not signed: there is no secret yet.
func (a *api) createApplication(ctx context.Context, r *httpkit.Request) (httpkit.Response, error) {
	params, err := parameters(r)
	if err != nil {
		return httpkit.Response{}, err
	}
	in, err := a.appInput(params)
	if err != nil {
		return httpkit.Response{}, err
	}
	app, secret, err := a.svc.RegisterApp(ctx, r.Bearer(), control.Principal{}.Via(Name, r.Address(), r.ID()), in)
	if err != nil {
		return httpkit.Response{}, appRefusal(err)
	}
	return ok(textCreated, a.credentials(app, secret))
}

func (a *api) credentials(app task.App, secret string) credentials {
	p := signed(md5Hex([]byte(app.Name)), secret, a.svc.Now())
	return credentials{p.nonce, p.timestamps, p.signature, app.Key, p.payload, secret}
}

// appInput reads the parameters in the document's order: the first rule that is broken is answered.
func (a *api) appInput(p compat.Params) (in control.AppInput, err error) {
	in = control.AppInput{Surface: Name}
	if in.Name.V, err = text(p.Get("appName"), nameApp, true, maxAppName); err != nil {
		return in, err
	}
	if in.CallbackURL.V, err = text(p.Get("linkUrl"), nameURL, true, maxURL); err != nil {
		return in, err
	}
	if in.Step, err = whole(p.Get("step"), nameStep, 0, maxStep); err != nil {
		return in, err
	}
	if in.RetryTotal, err = whole(p.Get("retryTotal"), nameRetry, 0, maxRetries); err != nil {
		return in, err
	}
	remark, err := text(p.Get("remark"), nameRemark, false, maxRemark)
	if err != nil {
		return in, err
	}
	if remark == "" {
		remark = compat.FormatTime(a.svc.Now(), a.zone)
	}
	in.Name.Set, in.CallbackURL.Set, in.Remark = true, true, control.Some(remark)
	if in.Step.V == 0 {
		in.Step = control.Some[int64](defaultStep)
	}
	if !in.RetryTotal.Set {
		in.RetryTotal = control.Some[int64](defaultRetryTotal)
	}
	return in, nil
}

// appRefusal says what the use case refused.
func appRefusal(err error) error {
	names := map[string]string{"name": nameApp, "callbackUrl": nameURL, "step": nameStep, "retryTotal": nameRetry, "remark": nameRemark}
	switch task.KindOf(err) {
	case task.Unauthorized, task.Forbidden, task.Internal:
		return err
	}
	for _, f := range fieldsOf(err) {
		if name := names[f.Field]; name != "" {
			return rule(name, ruleURL)
		}
	}
	return refusal(textNotCreated)
}

// refreshSignature makes fresh headers for an app that knows its secret.
func (a *api) refreshSignature(ctx context.Context, r *httpkit.Request) (httpkit.Response, error) {
	params, err := parameters(r)
	if err != nil {
		return httpkit.Response{}, err
	}
	key, _ := params.Get("app_key").Scalar()
	secret, _ := params.Get("secret_key").Scalar()
	if key == "" || secret == "" {
		return httpkit.Response{}, refusal(textUnknownPair)
	}
	app, err := a.svc.SignerOf(ctx, key)
	if err != nil && task.KindOf(err) == task.NotFound {
		return httpkit.Response{}, refusal(textUnknownPair)
	}
	if err != nil {
		return httpkit.Response{}, err
	}
	found := 0
	for _, s := range app.Secrets {
		found |= subtle.ConstantTimeCompare([]byte(s), []byte(secret))
	}
	if found != 1 {
		return httpkit.Response{}, refusal(textUnknownPair)
	}
	return ok(textCreated, a.credentials(app.Principal.App, secret))
}
