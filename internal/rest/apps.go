package rest

import (
	"context"
	"net/http"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

func appOf(a task.App) apiv1.App {
	out := apiv1.App{ID: a.Key, Name: a.Name, CallbackURL: a.CallbackURL, Weight: a.Weight, Paused: a.Paused, CreatedAt: apiv1.Time(a.CreatedAt),
		Surface: a.Legacy.Surface, Step: a.Legacy.Step, Remark: a.Legacy.Remark, CallbackHeaderStyle: a.Legacy.HeaderStyle,
		KeepDeliveries: a.KeepDeliveries, Disabled: a.Disabled, OldSecretUntil: apiv1.Time(a.OldSecretUntil)}
	if n := a.Legacy.RetryTotal; n >= 0 {
		out.RetryTotal = &n
	}
	out.SignatureMode = a.Legacy.SignatureMode
	out.Limits = limitsOf(a.Limits)
	return out
}

func keyOf(k task.APIKey) apiv1.Key {
	return apiv1.Key{ID: apiv1.ID(k.ID), Name: k.Name, Scope: control.ScopeName(k.Scope), Hint: k.Hint, Bootstrap: k.Bootstrap,
		CreatedAt: apiv1.Time(k.CreatedAt), RevokedAt: apiv1.Time(k.RevokedAt)}
}

func (a *api) listApps(ctx context.Context, c call) (httpkit.Response, error) {
	apps, err := a.svc.Apps(ctx, c.who)
	return listNewest(c, apps, err, appOf, func(a task.App) int64 { return int64(a.ID) })
}

func (a *api) getApp(ctx context.Context, c call) (httpkit.Response, error) {
	app, err := a.svc.App(ctx, c.who, c.Param("app"))
	return tagged(appOf(app), err)
}

func (a *api) createApp(ctx context.Context, c call) (httpkit.Response, error) {
	if err := noIdempotency(c); err != nil {
		return httpkit.Response{}, err
	}
	in, err := decodeApp(c)
	if err != nil {
		return httpkit.Response{}, err
	}
	app, secret, err := a.svc.CreateApp(ctx, c.who, in)
	if err != nil {
		return httpkit.Response{}, err
	}
	out := appOf(app)
	out.SigningSecret = secret
	return httpkit.JSON(http.StatusCreated, out)
}

func (a *api) rotateSecret(ctx context.Context, c call) (httpkit.Response, error) {
	if err := noIdempotency(c); err != nil {
		return httpkit.Response{}, err
	}
	if err := noBody(c); err != nil {
		return httpkit.Response{}, err
	}
	keep, err := overlap(c)
	if err != nil {
		return httpkit.Response{}, err
	}
	app, secret, err := a.svc.RotateSecretKeeping(ctx, c.who, c.Param("app"), keep)
	out := appOf(app)
	out.SigningSecret = secret
	return one(out, err)
}

// updateApp changes what the body names. With If-Match it is refused when the app is not as it was read.
func (a *api) updateApp(ctx context.Context, c call) (httpkit.Response, error) {
	in, err := decodeApp(c)
	if err != nil {
		return httpkit.Response{}, err
	}
	var guard func(task.App) error
	if want := c.Header("If-Match"); want != "" {
		guard = func(app task.App) error {
			now, err := httpkit.JSON(http.StatusOK, appOf(app))
			if err == nil && !httpkit.Matches(want, httpkit.Tag(now.Body), false) {
				err = httpkit.ErrPrecondition
			}
			return err
		}
	}
	app, err := a.svc.UpdateApp(ctx, c.who, c.Param("app"), in, guard)
	return tagged(appOf(app), err)
}

// decodeApp reads apiv1.AppCreate or AppPatch.
func decodeApp(c call) (in control.AppInput, err error) {
	s, err := c.JSON(func(s *httpkit.Scanner) {
		s.Object(func(key []byte) {
			switch string(key) {
			case "id":
				in.Key.V, in.Key.Set = s.String()
			case "signingSecret":
				in.Secret.V, in.Secret.Set = s.String()
			case "name":
				in.Name.V, in.Name.Set = s.String()
			case "callbackUrl":
				if s.Null() {
					in.CallbackURL.Set = true
					return
				}
				in.CallbackURL.V, in.CallbackURL.Set = s.String()
			case "weight":
				in.Weight = whole(s)
			case "paused":
				in.Paused.V, in.Paused.Set = s.Bool()
			case "disabled":
				in.Disabled.V, in.Disabled.Set = s.Bool()
			case "keepDeliveries":
				in.KeepAll.V, in.KeepAll.Set = s.Bool()
			case "step":
				in.Step = whole(s)
			case "retryTotal":
				in.RetryTotal = whole(s)
			case "remark":
				in.Remark.V, in.Remark.Set = s.String()
			case "callbackHeaderStyle":
				in.HeaderStyle.V, in.HeaderStyle.Set = s.String()
			case "signatureMode":
				in.SignatureMode.V, in.SignatureMode.Set = s.String()
			case "limits":
				in.Limits.V, in.Limits.Set = decodeLimits(s), true
			default:
				s.Unknown()
			}
		})
	})
	if err != nil {
		return in, err
	}
	if in.Broken = s.Broken(); len(in.Broken) > 0 && in.Broken[0].Field == "" {
		return in, broken(in.Broken)
	}
	return in, nil
}

func (a *api) listKeys(ctx context.Context, c call) (httpkit.Response, error) {
	keys, err := a.svc.APIKeys(ctx, c.who, c.Param("app"))
	return listNewest(c, keys, err, keyOf, func(k task.APIKey) int64 { return k.ID })
}

func (a *api) createKey(ctx context.Context, c call) (httpkit.Response, error) {
	if err := noIdempotency(c); err != nil {
		return httpkit.Response{}, err
	}
	var name, scope string
	err := body(c, false, func(s *httpkit.Scanner, key []byte) {
		switch string(key) {
		case "name":
			name, _ = s.String()
		case "scope":
			scope, _ = s.String()
		default:
			s.Unknown()
		}
	})
	if err != nil {
		return httpkit.Response{}, err
	}
	k, plain, err := a.svc.CreateAPIKey(ctx, c.who, c.Param("app"), name, scope)
	if err != nil {
		return httpkit.Response{}, err
	}
	out := keyOf(k)
	out.Key = plain
	return httpkit.JSON(http.StatusCreated, out)
}

func (a *api) revokeKey(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := pathID(c, "key", "api_key")
	if err != nil {
		return httpkit.Response{}, err
	}
	if err := a.svc.RevokeAPIKey(ctx, c.who, c.Param("app"), id); err != nil {
		return httpkit.Response{}, err
	}
	return httpkit.Response{Status: http.StatusNoContent}, nil
}
