package client

import (
	"context"
	"iter"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// Queues are shared by all apps; the numbers are those of the key's app.
type Queues struct{ c *Client }

// List yields all queues by name, with depth, age of the oldest due task and limits.
func (q Queues) List(ctx context.Context, p Page, opts ...CallOption) iter.Seq2[apiv1.Queue, error] {
	return pages[apiv1.Queue](ctx, q.c, func() *request { return get("/v1/queues").inApp().page(p) }, opts)
}

// Get reads one queue.
func (q Queues) Get(ctx context.Context, name string, opts ...CallOption) (*apiv1.Queue, error) {
	return fetch[apiv1.Queue](ctx, q.c, get("/v1/queues/%s", name).inApp(), opts)
}

// Put makes a queue or changes all that is set of it: limits and pause. What the update leaves out is the default.
func (q Queues) Put(ctx context.Context, name string, u apiv1.QueueUpdate, opts ...CallOption) (*apiv1.Queue, error) {
	r, err := put("/v1/queues/%s", name).inApp().json(u)
	if err != nil {
		return nil, err
	}
	return fetch[apiv1.Queue](ctx, q.c, r, opts)
}

// Pause stops new starts from the queue, for every app. What runs goes on.
func (q Queues) Pause(ctx context.Context, name string, opts ...CallOption) (*apiv1.Queue, error) {
	return fetch[apiv1.Queue](ctx, q.c, post("/v1/queues/%s/pause", name).inApp(), opts)
}

// Resume lets the queue go on.
func (q Queues) Resume(ctx context.Context, name string, opts ...CallOption) (*apiv1.Queue, error) {
	return fetch[apiv1.Queue](ctx, q.c, post("/v1/queues/%s/resume", name).inApp(), opts)
}

// LimitKeys are limits that tasks of an app share by carrying the same key: LimitKey.
type LimitKeys struct{ c *Client }

// List yields the app's limit keys by name.
func (l LimitKeys) List(ctx context.Context, p Page, opts ...CallOption) iter.Seq2[apiv1.LimitKey, error] {
	return pages[apiv1.LimitKey](ctx, l.c, func() *request { return get("/v1/limit-keys").inApp().page(p) }, opts)
}

// Get reads one limit key.
func (l LimitKeys) Get(ctx context.Context, key string, opts ...CallOption) (*apiv1.LimitKey, error) {
	return fetch[apiv1.LimitKey](ctx, l.c, get("/v1/limit-keys/%s", key).inApp(), opts)
}

// Put sets what holds for a limit key. What the update leaves out is the default.
func (l LimitKeys) Put(ctx context.Context, key string, u apiv1.LimitKeyUpdate, opts ...CallOption) (*apiv1.LimitKey, error) {
	r, err := put("/v1/limit-keys/%s", key).inApp().json(u)
	if err != nil {
		return nil, err
	}
	return fetch[apiv1.LimitKey](ctx, l.c, r, opts)
}

// Delete takes the limits away; tasks that carry the key run without.
func (l LimitKeys) Delete(ctx context.Context, key string, opts ...CallOption) error {
	return l.c.remove(ctx, to("DELETE", "/v1/limit-keys/%s", key).inApp(), opts)
}

// Pause stops new starts of the key's tasks. What runs goes on.
func (l LimitKeys) Pause(ctx context.Context, key string, opts ...CallOption) (*apiv1.LimitKey, error) {
	return fetch[apiv1.LimitKey](ctx, l.c, post("/v1/limit-keys/%s/pause", key).inApp(), opts)
}

// Resume lets the key's tasks go on.
func (l LimitKeys) Resume(ctx context.Context, key string, opts ...CallOption) (*apiv1.LimitKey, error) {
	return fetch[apiv1.LimitKey](ctx, l.c, post("/v1/limit-keys/%s/resume", key).inApp(), opts)
}
