package client

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// StatsQuery chooses statistics; what is zero is the server's default.
type StatsQuery struct {
	From, To time.Time
	Step     time.Duration
	By       string // queue, app, kind; "": one line for all
}

// Stats reads how many tasks were submitted, succeeded, failed …, and how long they waited and ran, step by step.
func (c *Client) Stats(ctx context.Context, q StatsQuery, opts ...CallOption) (*apiv1.Stats, error) {
	r := get("/v1/stats").inApp().with("from", instant(q.From)).with("to", instant(q.To)).with("by", q.By)
	if q.Step > 0 {
		r.with("stepMs", strconv.FormatInt(milliseconds(q.Step), 10))
	}
	return fetch[apiv1.Stats](ctx, c, r, opts)
}

// AuditFilter chooses entries of the audit trail; what is zero chooses all.
type AuditFilter struct {
	From, To       time.Time
	Action, Target string // exactly
	Page           Page
}

// Audit yields who changed what, newest first. An administrator sees the changes of all apps; ForApp those of one.
func (c *Client) Audit(ctx context.Context, f AuditFilter, opts ...CallOption) iter.Seq2[apiv1.AuditEntry, error] {
	return pages[apiv1.AuditEntry](ctx, c, func() *request {
		r := get("/v1/audit").inApp().with("from", instant(f.From)).with("to", instant(f.To))
		return r.with("action", f.Action).with("target", f.Target).page(f.Page)
	}, opts)
}

// Health asks if the process answers. It sends no key.
func (c *Client) Health(ctx context.Context, opts ...CallOption) (*apiv1.Health, error) {
	r := get("/healthz")
	r.open = true
	return fetch[apiv1.Health](ctx, c, r, opts)
}

// Ready asks if the process can work; Status is "unavailable" and Checks name what is missing when it cannot, which is no error. It
// sends no key and repeats nothing.
func (c *Client) Ready(ctx context.Context, opts ...CallOption) (*apiv1.Health, error) {
	r := get("/readyz")
	r.open = true
	for _, o := range opts {
		o(r)
	}
	resp, err := c.try(ctx, r)
	if r.meta != nil && resp != nil {
		*r.meta = *resp
	}
	if e, ok := errors.AsType[*Error](err); ok && e.StatusCode == http.StatusServiceUnavailable {
		var h apiv1.Health
		if json.Unmarshal(resp.Body, &h) == nil && h.Status != "" {
			return &h, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return decode[apiv1.Health](r, resp)
}
