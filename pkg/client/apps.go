package client

import (
	"context"
	"iter"
	"strconv"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// Apps are client applications. Most of it needs a key with scope admin. An app is named by its public id.
//
// Answers that show a secret show it this once, and cannot be asked for a second time: what makes one is sent again only when the
// server cannot have begun it.
type Apps struct{ c *Client }

// List yields apps, newest first: an administrator sees all, others their own.
func (a Apps) List(ctx context.Context, p Page, opts ...CallOption) iter.Seq2[apiv1.App, error] {
	return pages[apiv1.App](ctx, a.c, func() *request { return get("/v1/apps").page(p) }, opts)
}

// Create makes an app; SigningSecret of the answer is shown this once.
func (a Apps) Create(ctx context.Context, in apiv1.AppCreate, opts ...CallOption) (*apiv1.App, error) {
	r, err := post("/v1/apps").once().json(in)
	if err != nil {
		return nil, err
	}
	return fetch[apiv1.App](ctx, a.c, r, opts)
}

// Get reads an app.
func (a Apps) Get(ctx context.Context, app string, opts ...CallOption) (*apiv1.App, error) {
	return fetch[apiv1.App](ctx, a.c, get("/v1/apps/%s", app), opts)
}

// Update changes what the patch names. IfMatch makes sure that nobody else changed it meanwhile.
func (a Apps) Update(ctx context.Context, app string, patch apiv1.AppPatch, opts ...CallOption) (*apiv1.App, error) {
	r, err := to("PATCH", "/v1/apps/%s", app).json(patch)
	if err != nil {
		return nil, err
	}
	return fetch[apiv1.App](ctx, a.c, r, opts)
}

// RotateSecret gives an app a new signing secret, shown this once. For overlap, up to 30 days, callbacks are signed with the old one
// too; with 0 it ends at once.
func (a Apps) RotateSecret(ctx context.Context, app string, overlap time.Duration, opts ...CallOption) (*apiv1.App, error) {
	r := post("/v1/apps/%s/secret", app).once()
	if overlap > 0 {
		r.with("overlapMs", strconv.FormatInt(milliseconds(overlap), 10))
	}
	return fetch[apiv1.App](ctx, a.c, r, opts)
}

// TestCallback has a worker call the app's receiver and says what it did wrong. kind is the kind of callbacks; "": callback.
func (a Apps) TestCallback(ctx context.Context, app, kind string, opts ...CallOption) (*apiv1.CallbackTest, error) {
	return fetch[apiv1.CallbackTest](ctx, a.c, post("/v1/apps/%s/test-callback", app).once().with("kind", kind), opts)
}

// Keys yields an app's API keys, newest first, revoked ones too. The keys themselves are not shown.
func (a Apps) Keys(ctx context.Context, app string, p Page, opts ...CallOption) iter.Seq2[apiv1.Key, error] {
	return pages[apiv1.Key](ctx, a.c, func() *request { return get("/v1/apps/%s/keys", app).page(p) }, opts)
}

// CreateKey makes an API key; Key of the answer is shown this once.
func (a Apps) CreateKey(ctx context.Context, app string, in apiv1.KeyCreate, opts ...CallOption) (*apiv1.Key, error) {
	r, err := post("/v1/apps/%s/keys", app).once().json(in)
	if err != nil {
		return nil, err
	}
	return fetch[apiv1.Key](ctx, a.c, r, opts)
}

// RevokeKey ends an API key; a second time is fine.
func (a Apps) RevokeKey(ctx context.Context, app string, key apiv1.ID, opts ...CallOption) error {
	_, err := a.c.call(ctx, to("DELETE", "/v1/apps/%s/keys/%s", app, key.String()), opts...)
	return err
}
