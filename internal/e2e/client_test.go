package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// client speaks the v1 API as a stranger's program would.
type client struct {
	base, key string
	http      *http.Client
}

func newClient(t *testing.T, base, key string) *client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 32}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{base, key, &http.Client{Transport: transport, Timeout: 40 * time.Second}}
}

// shownTask is what these tests read of a task.
type shownTask struct {
	ID, State, Reason string
	Failures, Losses  int
	Attempts          []struct {
		Epoch   int
		Worker  string
		Outcome string
	}
}

func (t shownTask) final() bool {
	return t.State == "succeeded" || t.State == "failed" || t.State == "cancelled"
}

// reply is an answer as it came.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) String() string { return fmt.Sprintf("%d %s", r.status, bytes.TrimSpace(r.body)) }

// do sends one request. idem is the idempotency key; empty: none.
func (c *client) do(ctx context.Context, method, path, body, idem string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(body))
	if err != nil {
		return reply{}, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if idem != "" {
		req.Header.Set("Idempotency-Key", idem)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return reply{}, fmt.Errorf("call the api: %w", err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return reply{}, fmt.Errorf("read the answer: %w", err)
	}
	return reply{res.StatusCode, res.Header, raw}, nil
}

// must sends a request that has to succeed and decodes the answer.
func (c *client) must(t *testing.T, method, path, body string, into any) {
	t.Helper()
	r, err := c.do(t.Context(), method, path, body, "")
	if err != nil {
		t.Fatal(err)
	}
	if r.status >= 300 {
		t.Fatalf("%s %s: %s", method, path, r)
	}
	if into != nil {
		if err := json.Unmarshal(r.body, into); err != nil {
			t.Fatalf("%s %s answered %s: %v", method, path, r, err)
		}
	}
}

// submit accepts no failure; it gives the task's id.
func (c *client) submit(t *testing.T, body string) string {
	t.Helper()
	var task shownTask
	c.must(t, http.MethodPost, "/v1/tasks", body, &task)
	if task.ID == "" {
		t.Fatal("a task without id")
	}
	return task.ID
}

func (c *client) get(t *testing.T, id string) shownTask {
	t.Helper()
	var task shownTask
	c.must(t, http.MethodGet, "/v1/tasks/"+id, "", &task)
	return task
}

// final waits for a task's end.
func (c *client) final(t *testing.T, id string, within time.Duration) shownTask {
	t.Helper()
	var task shownTask
	eventually(t, within, "task "+id+" is final", func() bool { task = c.get(t, id); return task.final() })
	return task
}

// workerPID maps a worker's id to its process.
func (c *client) workerPID(t *testing.T, id string) int {
	t.Helper()
	var list struct {
		Items []struct {
			ID  string
			PID int
		}
	}
	c.must(t, http.MethodGet, "/v1/workers", "", &list)
	for _, w := range list.Items {
		if w.ID == id {
			return w.PID
		}
	}
	t.Fatalf("worker %s is not listed: %+v", id, list.Items)
	return 0
}

// eventually waits until ok holds.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > within {
			t.Fatalf("not within %v: %s", within, what)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(context.Cause(t.Context()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}
