package run

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/taskweir/taskweir/test/faults/faults"
)

// lookEvery is how often the database is asked what is final.
const lookEvery = 50 * time.Millisecond

// recovery waits until all is well after a round, and writes into each result how long it took. The time it gives is the
// round's: from its end until everything was final.
func (r *run) recovery(ctx context.Context, results []*faults.Result) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, waitsFor)
	defer cancel()
	end := r.now()
	id, err := r.probe.submit(ctx)
	if err != nil {
		return 0, err
	}
	heavy := 0
	for _, res := range results {
		if r.Plan.Kind(res.Injection.Kind).Weight != faults.Cheap {
			heavy++
		}
	}
	final, err := r.final(ctx, id, results)
	if err != nil {
		return 0, err
	}
	probed := final[id] - end
	for _, res := range results {
		from := res.From
		if heavy > 1 {
			from = end
		}
		res.Recovered = probed
		for _, task := range res.Running {
			res.Recovered = max(res.Recovered, final[task]-from)
		}
		if res.Times > 0 && res.Recovered > RecoverWithin {
			res.Broken = append(res.Broken, fmt.Sprintf("%s: recovered only after %v", res.Injection, res.Recovered))
		}
	}
	return r.now() - end, nil
}

// final waits until the probe and everything that ran is final, and tells when that was seen of each.
func (r *run) final(ctx context.Context, probe int64, results []*faults.Result) (map[int64]time.Duration, error) {
	final, open := map[int64]time.Duration{}, []int64{probe}
	for _, res := range results {
		open = append(open, res.Running...)
	}
	for {
		left, err := r.c.Open(ctx, open)
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		at, is := r.now(), map[int64]bool{}
		for _, id := range left {
			is[id] = true
		}
		for _, id := range open {
			if _, known := final[id]; !known && !is[id] && err == nil {
				final[id] = at
			}
		}
		if err == nil && len(left) == 0 {
			return final, nil
		}
		open = left
		if sleep(ctx, lookEvery); ctx.Err() != nil {
			return nil, fmt.Errorf("tasks %v are not final %v after the round: %s", left, waitsFor, r.describe(left))
		}
	}
}

// describe says what is known of tasks that hang.
func (r *run) describe(ids []int64) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	text, err := r.c.Describe(ctx, ids)
	if err != nil {
		return err.Error()
	}
	return text
}

// prober submits tasks at an API without a link, as soon as one takes them.
type prober struct {
	apis []string
	key  string
	url  string
	turn int
}

var probeClient = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func (p *prober) submit(ctx context.Context) (int64, error) {
	body, err := json.Marshal(map[string]any{"kind": "http", "queue": "probe", "payload": map[string]any{"url": p.url},
		"retry": map[string]any{"policy": "fixed", "baseMs": 200, "max": 50}})
	if err != nil {
		return 0, err
	}
	for {
		p.turn++
		id, err := p.try(ctx, p.apis[p.turn%len(p.apis)], body)
		if err == nil {
			return id, nil
		}
		if sleep(ctx, 100*time.Millisecond); ctx.Err() != nil {
			return 0, fmt.Errorf("no API takes a task: %w", err)
		}
	}
}

func (p *prober) try(ctx context.Context, api string, body []byte) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, api+"/v1/tasks", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+p.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := probeClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	if res.StatusCode != http.StatusCreated {
		return 0, fmt.Errorf("%s: %s", res.Status, text)
	}
	var task struct{ ID string }
	if err := json.Unmarshal(text, &task); err != nil {
		return 0, err
	}
	return strconv.ParseInt(task.ID, 10, 64)
}
