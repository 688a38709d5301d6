package client

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// BulkOperations do one action to many tasks, on the server, in the background.
type BulkOperations struct{ c *Client }

// Start begins an operation. With DryRun it only counts.
func (b BulkOperations) Start(ctx context.Context, in apiv1.BulkCreate, opts ...CallOption) (*apiv1.Bulk, error) {
	r, err := post("/v1/bulk").inApp().keyed().json(in)
	if err != nil {
		return nil, err
	}
	return fetch[apiv1.Bulk](ctx, b.c, r, opts)
}

// Get reads how far an operation is.
func (b BulkOperations) Get(ctx context.Context, id apiv1.ID, opts ...CallOption) (*apiv1.Bulk, error) {
	return fetch[apiv1.Bulk](ctx, b.c, get("/v1/bulk/%s", id.String()).inApp(), opts)
}

// List yields operations, newest first.
func (b BulkOperations) List(ctx context.Context, p Page, opts ...CallOption) iter.Seq2[apiv1.Bulk, error] {
	return pages[apiv1.Bulk](ctx, b.c, func() *request { return get("/v1/bulk").inApp().page(p) }, opts)
}

// Stop ends an operation; what it has done stays done.
func (b BulkOperations) Stop(ctx context.Context, id apiv1.ID, opts ...CallOption) (*apiv1.Bulk, error) {
	return fetch[apiv1.Bulk](ctx, b.c, post("/v1/bulk/%s/stop", id.String()).inApp(), opts)
}

// BulkError is an operation that ended before it was through.
type BulkError struct{ Bulk *apiv1.Bulk }

// Error says how far it came and why it ended.
func (e *BulkError) Error() string {
	return fmt.Sprintf("taskweir: bulk %s %s is %s after %d tasks: %s", e.Bulk.Action, e.Bulk.ID, e.Bulk.State, e.Bulk.Changed, e.Bulk.Error)
}

// Wait gives an operation when it is over; progress, unless it is nil, is told each time something has changed. One that failed
// or was stopped is a *BulkError. It goes on over restarts of the server, as WithPatience says.
func (b BulkOperations) Wait(ctx context.Context, id apiv1.ID, progress func(apiv1.Bulk), opts ...CallOption) (*apiv1.Bulk, error) {
	p, shown := b.c.patient(), apiv1.Bulk{}
	for every := 100 * time.Millisecond; ; every = min(every*3/2, 2*time.Second) {
		r := get("/v1/bulk/%s", id.String()).inApp()
		for _, o := range opts {
			o(r)
		}
		resp, err := b.c.try(ctx, r)
		if err != nil {
			if err = p.after(ctx, r, err); err != nil {
				return nil, err
			}
			continue
		}
		p.seen()
		now, err := decode[apiv1.Bulk](r, resp)
		if err != nil {
			return nil, err
		}
		if progress != nil && (now.State != shown.State || now.Matched != shown.Matched || now.Changed != shown.Changed || now.Skipped != shown.Skipped) {
			progress(*now)
			shown = *now
		}
		switch now.State {
		case apiv1.BulkDone:
			return now, nil
		case apiv1.BulkFailed, apiv1.BulkStopped:
			return now, &BulkError{Bulk: now}
		}
		if b.c.core.pause(ctx, every) != nil {
			return nil, b.c.noAnswer(r, ended(ctx), 1, false)
		}
	}
}
