package client

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// Get reads a task, with its verdict: why it is where it is.
func (c *Client) Get(ctx context.Context, id apiv1.ID, opts ...CallOption) (*apiv1.Task, error) {
	return fetch[apiv1.Task](ctx, c, get("/v1/tasks/%s", id.String()).inApp(), opts)
}

// idsPerRequest keeps the address of a request below 8 KiB, which proxies take.
const idsPerRequest = 300

// GetMany reads tasks by id, in the order of ids; those that do not exist, or are another app's, are left out. It sends as many
// requests as it needs.
func (c *Client) GetMany(ctx context.Context, ids []apiv1.ID, opts ...CallOption) ([]apiv1.Task, error) {
	out := make([]apiv1.Task, 0, len(ids))
	for part := range slices.Chunk(ids, idsPerRequest) {
		tasks, err := c.getSome(ctx, part, opts)
		if err != nil {
			return nil, err
		}
		out = append(out, tasks...)
	}
	return out, nil
}

// getSome halves a request whose answer would be too large.
func (c *Client) getSome(ctx context.Context, ids []apiv1.ID, opts []CallOption) ([]apiv1.Task, error) {
	text := make([]string, len(ids))
	for i, id := range ids {
		text[i] = id.String()
	}
	page, err := fetch[apiv1.TaskList](ctx, c, get("/v1/tasks").inApp().with("ids", strings.Join(text, ",")), opts)
	if err == nil {
		return page.Items, nil
	}
	if Code(err) != "answer_too_large" || len(ids) < 2 {
		return nil, err
	}
	low, err := c.getSome(ctx, ids[:len(ids)/2], opts)
	if err != nil {
		return nil, err
	}
	high, err := c.getSome(ctx, ids[len(ids)/2:], opts)
	return append(low, high...), err
}

// TaskFilter chooses tasks; what is zero chooses all.
type TaskFilter struct {
	State               string // apiv1.StateQueued, …
	Queue, Kind         string
	LabelName, LabelVal string // one label
	UniqueKey           string
	From, To            time.Time // created at or after From, before To
	Page                Page
}

func (f *TaskFilter) request() *request {
	r := get("/v1/tasks").inApp().with("state", f.State).with("queue", f.Queue).with("kind", f.Kind).with("uniqueKey", f.UniqueKey)
	if f.LabelName != "" {
		r.with("label", f.LabelName+":"+f.LabelVal)
	}
	return r.with("from", instant(f.From)).with("to", instant(f.To)).page(f.Page)
}

// instant is a time of a query; "" for the zero time.
func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return apiv1.TimeOf(t).String()
}

// List yields tasks, newest first; those scheduled or queued, when State says so, in the order in which they are due. It follows
// the pages to their end, or until the caller stops; an error ends it.
func (c *Client) List(ctx context.Context, f TaskFilter, opts ...CallOption) iter.Seq2[apiv1.Task, error] {
	return pages[apiv1.Task](ctx, c, f.request, opts)
}

// ListPage reads one page and the cursor of the next, "" at the end, for programs that show pages: put it into f.Page.Cursor.
func (c *Client) ListPage(ctx context.Context, f TaskFilter, opts ...CallOption) (items []apiv1.Task, next string, err error) {
	page, err := fetch[apiv1.TaskList](ctx, c, f.request(), opts)
	if err != nil {
		return nil, "", err
	}
	return page.Items, page.NextCursor, nil
}

// Cancel ends a waiting task at once and tells the worker of a running one to stop it. It waits up to wait, at most 30 s, for the
// task to become final; look at State. A task that is final already stays as it is.
func (c *Client) Cancel(ctx context.Context, id apiv1.ID, wait time.Duration, opts ...CallOption) (*apiv1.Task, error) {
	r := post("/v1/tasks/%s/cancel", id.String()).inApp()
	if wait > 0 {
		r.with("wait", wait.String()).wait = wait
	}
	return fetch[apiv1.Task](ctx, c, r, opts)
}

// Retry puts a failed or cancelled task, with force also a succeeded one, back into its queue. Its id and attempts stay.
func (c *Client) Retry(ctx context.Context, id apiv1.ID, force bool, opts ...CallOption) (*apiv1.Task, error) {
	r := post("/v1/tasks/%s/retry", id.String()).inApp().once()
	if force {
		r.with("force", "true")
	}
	return fetch[apiv1.Task](ctx, c, r, opts)
}

// RetryWith makes a new task like a final one, with another payload (as for Submit). Its RetryOf names the old one.
func (c *Client) RetryWith(ctx context.Context, id apiv1.ID, payload any, force bool, opts ...CallOption) (*Submitted, error) {
	raw, err := Payload(payload)
	if err != nil {
		return nil, fmt.Errorf("taskweir: retry task %s: %w", id, err)
	}
	if raw == nil {
		raw = []byte("null")
	}
	r := post("/v1/tasks/%s/retry", id.String()).inApp().keyed()
	r.body = append(append([]byte(`{"payload":`), raw...), '}')
	if force {
		r.with("force", "true")
	}
	made, err := c.submitted(ctx, r, opts...)
	if err == nil {
		made.Existing = false
	}
	return made, err
}

// RunNow makes a task that waits for its time, or its next retry, due.
func (c *Client) RunNow(ctx context.Context, id apiv1.ID, opts ...CallOption) (*apiv1.Task, error) {
	return c.act(ctx, id, "run-now", opts)
}

// Abandon closes the attempt of a zombie: a handler that was told to end and does not.
func (c *Client) Abandon(ctx context.Context, id apiv1.ID, opts ...CallOption) (*apiv1.Task, error) {
	return c.act(ctx, id, "abandon", opts)
}

// Resend calls the receiver of a task of kind http or callback once more: a final one is retried, a waiting one is run now.
func (c *Client) Resend(ctx context.Context, id apiv1.ID, opts ...CallOption) (*apiv1.Task, error) {
	return c.act(ctx, id, "resend", opts)
}

func (c *Client) act(ctx context.Context, id apiv1.ID, verb string, opts []CallOption) (*apiv1.Task, error) {
	return fetch[apiv1.Task](ctx, c, post("/v1/tasks/%s/"+verb, id.String()).inApp().once(), opts)
}

// Complete ends an attempt that its receiver took over by answering 202 (apiv1.HeaderCompleteWithin). The same completion again
// changes nothing.
func (c *Client) Complete(ctx context.Context, id apiv1.ID, how apiv1.Complete, opts ...CallOption) (*apiv1.Task, error) {
	result := how.Result
	if how.Result = nil; result != nil {
		if err := validJSON(result); err != nil {
			return nil, fmt.Errorf("taskweir: result of task %s: %w", id, err)
		}
	}
	r, err := post("/v1/tasks/%s/complete", id.String()).inApp().json(how)
	if err != nil {
		return nil, err
	}
	if result != nil { // byte for byte
		r.body = append(append(append(r.body[:len(r.body)-1], `,"result":`...), result...), '}')
	}
	return fetch[apiv1.Task](ctx, c, r, opts)
}

// Stack shows what a running task does at this moment: the goroutines of its handler.
func (c *Client) Stack(ctx context.Context, id apiv1.ID, opts ...CallOption) (*apiv1.Stack, error) {
	return fetch[apiv1.Stack](ctx, c, get("/v1/tasks/%s/stack", id.String()).inApp(), opts)
}

// Attempt reads one attempt and how its call went.
func (c *Client) Attempt(ctx context.Context, id, attempt apiv1.ID, opts ...CallOption) (*apiv1.AttemptDetail, error) {
	return fetch[apiv1.AttemptDetail](ctx, c, get("/v1/tasks/%s/attempts/%s", id.String(), attempt.String()).inApp(), opts)
}

// remove is a DELETE: gone already is as good.
func (c *Client) remove(ctx context.Context, r *request, opts []CallOption) error {
	r.method, r.gone = http.MethodDelete, true
	_, err := c.call(ctx, r, opts...)
	return err
}
