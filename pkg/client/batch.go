package client

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

const (
	maxBatch      = 1000    // tasks of one request
	maxBatchBytes = 8 << 20 // of one request; the server takes 16 MiB
)

// ErrNotSent is the error of tasks that SubmitBatch did not come to, because requests before failed.
var ErrNotSent = errors.New("not sent: an earlier part of the batch failed")

// BatchItem is what became of one task of a batch: Task or Err is set.
type BatchItem struct {
	Task *apiv1.Task
	Err  error
}

// SubmitBatch makes many tasks, in order, with one item for each in the same order. A task that is refused does not hold up the
// others: its item has the error. More than 1,000, or 8 MiB, are sent as several requests one after the other.
//
// The error is not nil when a request failed. Its tasks have the same error then, those after them ErrNotSent; to go on safely,
// call again with the same tasks and the same IdempotencyKey: what has been made is answered and not made again.
//
// Of a single task that is refused, *Error names fields as the server does: tasks[17].delayMs, counted over the whole batch.
func (c *Client) SubmitBatch(ctx context.Context, tasks []apiv1.Submit, opts ...CallOption) ([]BatchItem, error) {
	items := make([]BatchItem, len(tasks))
	for i := range tasks {
		if err := sendable(&tasks[i]); err != nil {
			return nil, fmt.Errorf("taskweir: submit batch: tasks[%d].%w", i, err)
		}
	}
	first := post("/v1/tasks/batch").inApp().keyed()
	for _, o := range opts {
		o(first)
	}
	for from, part := 0, 0; from < len(tasks); part++ {
		body, n, err := batchBody(tasks[from:])
		if err != nil {
			return items, fmt.Errorf("taskweir: submit batch: %w: %w", ErrInvalid, err)
		}
		r := *first
		r.body = body
		if part > 0 { // each request has a key of its own, the same ones when all is sent again
			r.key += "+" + strconv.Itoa(part)
		}
		if err := c.submitPart(ctx, &r, from, items[from:from+n]); err != nil {
			for i := from + n; i < len(items); i++ {
				items[i].Err = ErrNotSent
			}
			return items, err
		}
		from += n
	}
	return items, nil
}

// batchBody writes the request for as many of the tasks as fit into one.
func batchBody(tasks []apiv1.Submit) (body []byte, n int, err error) {
	body = append(body, `{"tasks":[`...)
	for n < len(tasks) && n < maxBatch {
		before := len(body)
		if n > 0 {
			body = append(body, ',')
		}
		if body, err = tasks[n].AppendJSON(body); err != nil {
			return nil, 0, err
		}
		if n > 0 && len(body) > maxBatchBytes {
			body = body[:before]
			break
		}
		n++
	}
	return append(body, `]}`...), n, nil
}

func (c *Client) submitPart(ctx context.Context, r *request, from int, items []BatchItem) error {
	answer, err := fetch[apiv1.BatchAnswer](ctx, c, r, nil)
	if err == nil && len(answer.Items) != len(items) {
		err = fmt.Errorf("taskweir: %s %s: the answer is not Taskweir's: %d items for %d tasks", r.method, r.path, len(answer.Items), len(items))
	}
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			shift(&e.Problem, from)
		}
		for i := range items {
			items[i].Err = err
		}
		return err
	}
	for i, it := range answer.Items {
		switch {
		case it.Error != nil:
			shift(it.Error, from)
			items[i].Err = &Error{Problem: *it.Error, StatusCode: it.Error.Status, Method: r.method, Path: r.path, Tries: 1}
		case it.Task != nil && it.Task.ID != 0:
			items[i].Task = it.Task
		default:
			items[i].Err = fmt.Errorf("taskweir: %s %s: the answer is not Taskweir's: an item without task and error", r.method, r.path)
		}
	}
	return nil
}

var indexed = regexp.MustCompile(`^tasks\[(\d+)\]`)

// shift makes the indices of a part those of the whole batch.
func shift(p *apiv1.Problem, from int) {
	if from == 0 {
		return
	}
	move := func(s string) string {
		return indexed.ReplaceAllStringFunc(s, func(m string) string {
			n, err := strconv.Atoi(m[len("tasks[") : len(m)-1])
			if err != nil {
				return m
			}
			return "tasks[" + strconv.Itoa(n+from) + "]"
		})
	}
	p.Detail = move(p.Detail)
	for i := range p.Errors {
		p.Errors[i].Field = move(p.Errors[i].Field)
	}
}
