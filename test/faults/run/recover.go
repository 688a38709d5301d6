package run

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskweir/taskweir/test/faults/cluster"
	"github.com/taskweir/taskweir/test/faults/faults"
	"github.com/taskweir/taskweir/test/faults/network"
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
	final, err := r.final(ctx, id, results)
	if err != nil {
		return 0, err
	}
	probed := final[id] - end
	for _, res := range results {
		hindered := r.hindered(res, results)
		res.Recovered = probed
		for _, t := range res.Running {
			from := end
			if !hindered && slices.Contains(res.Fault.Workers, t.Worker) {
				from = res.From
			}
			res.Recovered = max(res.Recovered, final[t.Task]-from)
		}
		if s := slowest(res, results); s.Took > RecoverWithin {
			res.Broken = append(res.Broken, fmt.Sprintf("%s: %s was ready only %v after it was started", res.Injection, s.Unit, s.Took))
		}
		if res.Times > 0 && res.Recovered > RecoverWithin {
			res.Broken = append(res.Broken, fmt.Sprintf("%s: recovered only after %v", res.Injection, res.Recovered))
		}
	}
	return r.now() - end, nil
}

// hindered reports whether another heavy fault of the round may have been in the way of what was to recover from this one: it hurt the
// same worker, the database, a broker or a scheduler, or a link to or from one of them.
func (r *run) hindered(res *faults.Result, round []*faults.Result) bool {
	for _, other := range round {
		if other == res || other.Times == 0 || r.Plan.Kind(other.Injection.Kind).Weight == faults.Cheap {
			continue
		}
		for _, name := range ends(other) {
			u := r.c.Unit(name)
			if u != nil && (u.Role == cluster.MariaDB || u.Role == cluster.NSQD || u.Role == cluster.Scheduler) || slices.Contains(res.Fault.Workers, name) {
				return true
			}
		}
	}
	return false
}

// slowest gives the start that took longest. One that waited for a server that the round had taken away from it does not count.
func slowest(res *faults.Result, round []*faults.Result) (s faults.Start) {
	for _, start := range res.Starts {
		if start.Took > s.Took && !slices.ContainsFunc(round, func(other *faults.Result) bool { return takes(other, start.Unit) }) {
			s = start
		}
	}
	return s
}

// takes reports whether a fault takes a server away from a process, or hurts a server at all.
func takes(res *faults.Result, unit string) bool {
	for _, target := range res.Injection.Targets {
		from, _, link := strings.Cut(target, network.Arrow)
		role := cluster.Standard().Role(target)
		if link && from == unit || !link && role != "" && !role.Ours() {
			return true
		}
	}
	return false
}

// ends lists what a fault hurts, and both ends of the links that it hurts.
func ends(res *faults.Result) (names []string) {
	for _, target := range res.Injection.Targets {
		names = append(names, strings.Split(target, network.Arrow)...)
	}
	return names
}

// final waits until the probe and everything that ran is final, and tells when that was seen of each.
func (r *run) final(ctx context.Context, probe int64, results []*faults.Result) (map[int64]time.Duration, error) {
	final, open := map[int64]time.Duration{}, []int64{probe}
	for _, res := range results {
		for _, t := range res.Running {
			open = append(open, t.Task)
		}
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
