package goodjob

import (
	"context"
	"net/http"

	"github.com/taskweir/taskweir/internal/compat"
	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
)

const (
	version  = "1.0"
	minNonce = 6 // bytes
)

// call is one request whose signature was verified.
type call struct {
	*httpkit.Request
	who    control.Principal
	params compat.Params
}

// signed puts the document's checks before a handler, in its order: the first that fails is answered. A nonce is used up only by a
// request that is the app's.
func (a *api) signed(h func(context.Context, call) (httpkit.Response, error)) httpkit.Handler {
	return func(ctx context.Context, r *httpkit.Request) (httpkit.Response, error) {
		who, c, at, err := a.identify(ctx, r)
		if err != nil {
			return httpkit.Response{}, err
		}
		params, err := parameters(r)
		if err != nil {
			return httpkit.Response{}, err
		}
		if !verified(params, c, who.Secrets, r.Header("signature")) {
			return httpkit.Response{}, refusal(textBadSignature)
		}
		if !a.nonces.Burn(ctx, who.Principal.App.ID, compat.NonceID(c.nonce), compat.NonceLife) {
			return httpkit.Response{}, refusal(textRepeated)
		}
		if !compat.InWindow(at, a.svc.Now()) { // it took so long to come that its nonce may have been forgotten since it was used
			return httpkit.Response{}, refusal(textFarTime)
		}
		return h(ctx, call{r, who.Principal.Via(Name, r.Address(), r.ID()), params})
	}
}

// identify checks the headers and finds the app that they name. at is the request's time.
func (a *api) identify(ctx context.Context, r *httpkit.Request) (who control.Signer, c credentials, at int64, err error) {
	var hyphenKey, hyphenNonce bool
	if c.appKey, hyphenKey = compat.Either(r, "app_key"); c.appKey == "" {
		return who, c, at, refusal(textNoKey)
	}
	who, err = a.svc.SignerOf(ctx, c.appKey)
	if task.KindOf(err) == task.NotFound && err != nil {
		return who, c, at, refusal(textNoApp)
	}
	if err != nil {
		return who, c, at, err
	}
	c.nonce, hyphenNonce = compat.Either(r, "nonce_str")
	c.time, c.version = r.Header("timestamp"), r.Header("version")
	c.hyphens = hyphenKey && hyphenNonce
	at, readable := compat.ParseTime(c.time, a.zone)
	switch {
	case len(c.nonce) < minNonce:
		return who, c, at, refusal(textNonce)
	case c.time == "":
		return who, c, at, refusal(textNoTime)
	case !readable:
		return who, c, at, refusal(textBadTime)
	case !compat.InWindow(at, a.svc.Now()):
		return who, c, at, refusal(textFarTime)
	case r.Header("signature") == "":
		return who, c, at, refusal(textNoSignature)
	case c.version == "":
		return who, c, at, refusal(textNoVersion)
	case c.version != version:
		return who, c, at, refusal(textBadVersion)
	}
	return who, c, at, nil
}

// parameters reads them from where they are signed: the body of a POST, the query of a GET.
func parameters(r *httpkit.Request) (compat.Params, error) {
	var p compat.Params
	var err error
	if r.Method() == http.MethodPost {
		r.LimitBody(maxBody)
		body, failed := r.Body()
		if failed != nil {
			return nil, failed
		}
		p, err = compat.Decode(r.Header("Content-Type"), body)
	} else {
		p, err = compat.ParseForm(r.RawQuery())
	}
	if err != nil {
		return nil, refusal(textUnreadable)
	}
	return p, nil
}
