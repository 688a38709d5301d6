package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// completeTask ends an attempt that its receiver took over.
func (a *api) completeTask(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := pathID(c, "id", "task")
	if err != nil {
		return httpkit.Response{}, err
	}
	in := &control.CompletionInput{}
	s, err := c.JSON(func(s *httpkit.Scanner) { s.Object(func(key []byte) { completeMember(s, in, key) }) })
	if err != nil {
		return httpkit.Response{}, err
	}
	if in.Broken = s.Broken(); len(in.Broken) > 0 && in.Broken[0].Field == "" {
		return httpkit.Response{}, broken(in.Broken)
	}
	v, err := a.svc.Complete(ctx, c.who, id, in)
	return a.task(c, v, err)
}

// completeMember reads a member of apiv1.Complete.
func completeMember(s *httpkit.Scanner, in *control.CompletionInput, key []byte) {
	switch string(key) {
	case "epoch":
		in.Epoch = whole(s)
	case "outcome":
		in.Outcome = text(s)
	case "result":
		in.Result = s.Raw()
	case "error":
		if s.Null() {
			return
		}
		s.Object(func(key []byte) {
			switch string(key) {
			case "code":
				in.ErrCode, _ = s.String()
			case "message":
				in.ErrMessage, _ = s.String()
			default:
				s.Unknown()
			}
		})
	case "permanent":
		in.Permanent, _ = s.Bool()
	case "retryAfterMs":
		if !s.Null() {
			in.RetryAfterMs = whole(s)
		}
	default:
		s.Unknown()
	}
}

// getAttempt answers one attempt with how its call went.
func (a *api) getAttempt(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := pathID(c, "id", "task")
	if err != nil {
		return httpkit.Response{}, err
	}
	attempt, err := pathID(c, "attempt", "attempt")
	if err != nil {
		return httpkit.Response{}, err
	}
	at, err := a.svc.Attempt(ctx, c.who, id, attempt)
	if err != nil {
		return httpkit.Response{}, err
	}
	out := apiv1.AttemptDetail{Attempt: attemptOf(&at), Delivery: json.RawMessage("null")}
	if at.Delivery != nil {
		out.Delivery = at.Delivery
	}
	return tagged(out, nil)
}

func (a *api) resendTask(ctx context.Context, c call) (httpkit.Response, error) {
	return a.actOn(ctx, c, a.svc.Resend)
}

// testCallback tries an app's receiver out. ?kind= names the kind of callbacks; callback without.
func (a *api) testCallback(ctx context.Context, c call) (httpkit.Response, error) {
	if err := noIdempotency(c); err != nil {
		return httpkit.Response{}, err
	}
	if err := noBody(c); err != nil {
		return httpkit.Response{}, err
	}
	kind, _ := c.Query("kind")
	rep, err := a.svc.TestCallback(ctx, c.who, c.Param("app"), kind)
	if err != nil {
		return httpkit.Response{}, err
	}
	out := apiv1.CallbackTest{OK: rep.OK, Kind: rep.Kind, URL: rep.URL, Tries: []apiv1.CallbackTry{}, Findings: rep.Findings}
	for _, t := range rep.Tries {
		out.Tries = append(out.Tries, apiv1.CallbackTry(t))
	}
	return httpkit.JSON(http.StatusOK, out)
}

// overlap reads ?overlapMs=.
func overlap(c call) (int64, error) {
	v, ok := c.Query("overlapMs")
	if !ok {
		return 0, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0, task.InvalidField("overlapMs", "type", "must be a whole number")
	}
	return n, nil
}
