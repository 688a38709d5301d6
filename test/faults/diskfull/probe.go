package diskfull

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/taskweir/taskweir/test/faults/history"
	"github.com/taskweir/taskweir/test/faults/record"
)

// probe submits tasks of its own, one after the other, beside the load: it sees every answer.
type probe struct {
	api, key string
	large    bool // payloads of 100 kB, which find out soon that there is no room
	codes    map[string]int
	accepted []string // ids
}

var client = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// submit submits one task. ok: it was taken. What is neither that nor a 503 with a code that says what is wrong is an error.
func (p *probe) submit(ctx context.Context) (ok bool, err error) {
	filling := ""
	if p.large {
		filling = strings.Repeat("x", 100_000)
	}
	body, err := json.Marshal(map[string]any{"kind": "echo", "queue": "probe", "payload": filling})
	if err != nil {
		return false, err
	}
	var got struct{ ID, Code string }
	status, err := p.call(ctx, http.MethodPost, "/v1/tasks", body, &got)
	if err != nil {
		return false, err
	}
	switch {
	case status == http.StatusCreated:
		p.accepted = append(p.accepted, got.ID)
		return true, nil
	case status == http.StatusServiceUnavailable && clear(got.Code):
		p.codes[got.Code]++
		return false, nil
	}
	return false, fmt.Errorf("a submit was answered %d %s", status, got.Code)
}

// clear are the codes that tell a client the truth about a database that cannot write.
func clear(code string) bool {
	return code == "database_unavailable" || code == "outcome_unknown" || code == "overloaded"
}

// succeeded waits until every task that was taken has.
func (p *probe) succeeded(ctx context.Context) error {
	for len(p.accepted) > 0 {
		var got struct{ State string }
		status, err := p.call(ctx, http.MethodGet, "/v1/tasks/"+p.accepted[0]+"?wait=1s", nil, &got)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("task %s, which was taken, is %s: %w", p.accepted[0], got.State, context.Cause(ctx))
		case err == nil && status == http.StatusNotFound:
			return fmt.Errorf("task %s, which was taken, is lost", p.accepted[0])
		case err == nil && got.State == "succeeded":
			p.accepted = p.accepted[1:]
		}
	}
	return nil
}

func (p *probe) call(ctx context.Context, method, path string, body []byte, into any) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.api+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+p.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return 0, fmt.Errorf("%s %s is answered %d %.200s: %w", method, path, res.StatusCode, raw, err)
	}
	return res.StatusCode, nil
}

// unclear notes every answer to the load's clients that does not say what is wrong.
func unclear(rec *record.Recorder, h *history.History) {
	if h == nil {
		return
	}
	for i := range h.Ops {
		for _, try := range h.Ops[i].Failed {
			if try.Status != 0 && (try.Status != http.StatusServiceUnavailable || !clear(try.Code)) {
				rec.Broken("a client's %s was answered %d %s", h.Ops[i].Kind, try.Status, try.Code)
			}
		}
	}
}
