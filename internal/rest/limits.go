package rest

import (
	"context"
	"encoding/base64"
	"net/http"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

func limitsOf(l task.Limits) (out apiv1.Limits) {
	if n := l.Concurrency; n > 0 {
		out.Concurrency = &n
	}
	if l.RateTasks > 0 {
		out.Rate = &apiv1.Rate{Tasks: l.RateTasks, PerMs: l.RatePerMs, Burst: l.RateBurst}
	}
	return out
}

func limitKeyOf(l task.Limit) apiv1.LimitKey {
	out := apiv1.LimitKey{Key: l.Name, Limits: limitsOf(l.Limits), Paused: l.Paused}
	if l.Concurrency > 0 {
		out.Running = &l.Running
	}
	return out
}

// decodeLimits reads apiv1.Limits.
func decodeLimits(s *httpkit.Scanner) (in control.LimitsInput) {
	s.Object(func(key []byte) {
		switch string(key) {
		case "concurrency":
			if !s.Null() {
				in.Concurrency = whole(s)
			}
		case "rate":
			if s.Null() {
				return
			}
			in.Rate = s.Object(func(key []byte) {
				switch string(key) {
				case "tasks":
					in.Tasks = whole(s)
				case "perMs":
					in.PerMs = whole(s)
				case "burst":
					in.Burst = whole(s)
				default:
					s.Unknown()
				}
			})
		default:
			s.Unknown()
		}
	})
	return in
}

// decodeUpdate reads apiv1.QueueUpdate and LimitKeyUpdate.
func decodeUpdate(c call) (in control.LimitsInput, paused bool, bad []task.FieldError, err error) {
	s, err := c.JSON(func(s *httpkit.Scanner) {
		s.Object(func(key []byte) {
			switch string(key) {
			case "limits":
				in = decodeLimits(s)
			case "paused":
				paused, _ = s.Bool()
			default:
				s.Unknown()
			}
		})
	})
	if err != nil {
		return in, false, nil, err
	}
	if bad = s.Broken(); len(bad) > 0 && bad[0].Field == "" {
		return in, false, nil, broken(bad)
	}
	return in, paused, bad, nil
}

func (a *api) putQueue(ctx context.Context, c call) (httpkit.Response, error) {
	in, paused, bad, err := decodeUpdate(c)
	if err != nil {
		return httpkit.Response{}, err
	}
	q, err := a.svc.PutQueue(ctx, c.who, c.Param("name"), in, paused, bad)
	return one(a.queueOf(q), err)
}

// listLimitKeys pages by name. Its cursor is the last name.
func (a *api) listLimitKeys(ctx context.Context, c call) (httpkit.Response, error) {
	n, ok := limit(c)
	if !ok {
		return httpkit.Response{}, task.InvalidField("limit", "type", "must be a whole number")
	}
	if n < 1 || n > pageMost {
		return httpkit.Response{}, task.InvalidField("limit", "range", "must be 1 … 1000")
	}
	after := ""
	if cursor, _ := c.Query("cursor"); cursor != "" {
		raw, err := base64.RawURLEncoding.DecodeString(cursor)
		if err != nil || !control.ValidLimitKey(string(raw)) {
			return httpkit.Response{}, task.InvalidField("cursor", "format", "is not a cursor of this list")
		}
		after = string(raw)
	}
	keys, err := a.svc.LimitKeys(ctx, c.who, after, n+1)
	if err != nil {
		return httpkit.Response{}, err
	}
	out := apiv1.List[apiv1.LimitKey]{Items: make([]apiv1.LimitKey, 0, len(keys))}
	for i, k := range keys {
		if i == n {
			next := base64.RawURLEncoding.EncodeToString([]byte(keys[i-1].Name))
			out.NextCursor = &next
			break
		}
		out.Items = append(out.Items, limitKeyOf(k))
	}
	return tagged(out, nil)
}

func (a *api) getLimitKey(ctx context.Context, c call) (httpkit.Response, error) {
	l, err := a.svc.LimitKey(ctx, c.who, c.Param("key"))
	return tagged(limitKeyOf(l), err)
}

func (a *api) putLimitKey(ctx context.Context, c call) (httpkit.Response, error) {
	in, paused, bad, err := decodeUpdate(c)
	if err != nil {
		return httpkit.Response{}, err
	}
	l, err := a.svc.PutLimitKey(ctx, c.who, c.Param("key"), in, paused, bad)
	return one(limitKeyOf(l), err)
}

func (a *api) pauseLimitKey(ctx context.Context, c call) (httpkit.Response, error) {
	return a.setKeyPaused(ctx, c, true)
}

func (a *api) resumeLimitKey(ctx context.Context, c call) (httpkit.Response, error) {
	return a.setKeyPaused(ctx, c, false)
}

func (a *api) setKeyPaused(ctx context.Context, c call, paused bool) (httpkit.Response, error) {
	if err := noBody(c); err != nil {
		return httpkit.Response{}, err
	}
	l, err := a.svc.PauseLimitKey(ctx, c.who, c.Param("key"), paused)
	return one(limitKeyOf(l), err)
}

func (a *api) deleteLimitKey(ctx context.Context, c call) (httpkit.Response, error) {
	if err := a.svc.DeleteLimitKey(ctx, c.who, c.Param("key")); err != nil {
		return httpkit.Response{}, err
	}
	return httpkit.Response{Status: http.StatusNoContent}, nil
}
