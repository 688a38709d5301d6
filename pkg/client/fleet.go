package client

import (
	"context"
	"iter"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// Kinds say which tasks there may be.
type Kinds struct{ c *Client }

// List yields every declared kind by name.
func (k Kinds) List(ctx context.Context, p Page, opts ...CallOption) iter.Seq2[apiv1.Kind, error] {
	return pages[apiv1.Kind](ctx, k.c, func() *request { return get("/v1/kinds").page(p) }, opts)
}

// Get reads one kind.
func (k Kinds) Get(ctx context.Context, name string, opts ...CallOption) (*apiv1.Kind, error) {
	return fetch[apiv1.Kind](ctx, k.c, get("/v1/kinds/%s", name), opts)
}

// Declare lets tasks of a kind be submitted before any worker has registered it. It holds for ever, and again changes nothing.
func (k Kinds) Declare(ctx context.Context, name string, opts ...CallOption) (*apiv1.Kind, error) {
	return fetch[apiv1.Kind](ctx, k.c, put("/v1/kinds/%s", name), opts)
}

// Workers run tasks.
type Workers struct{ c *Client }

// List yields workers, newest first; with all also those gone in the last hour.
func (w Workers) List(ctx context.Context, all bool, p Page, opts ...CallOption) iter.Seq2[apiv1.Worker, error] {
	return pages[apiv1.Worker](ctx, w.c, func() *request {
		r := get("/v1/workers").page(p)
		if all {
			r.with("all", "true")
		}
		return r
	}, opts)
}

// Get reads one worker and what it has been running for 200 ms or more.
func (w Workers) Get(ctx context.Context, id apiv1.ID, opts ...CallOption) (*apiv1.Worker, error) {
	return fetch[apiv1.Worker](ctx, w.c, get("/v1/workers/%s", id.String()), opts)
}

// Drain makes a worker take nothing new, finish or hand back what it runs, and end.
func (w Workers) Drain(ctx context.Context, id apiv1.ID, opts ...CallOption) (*apiv1.Worker, error) {
	return fetch[apiv1.Worker](ctx, w.c, post("/v1/workers/%s/drain", id.String()), opts)
}
