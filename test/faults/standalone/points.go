package standalone

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/taskweir/taskweir/test/faults/cluster"
	"github.com/taskweir/taskweir/test/faults/history"
)

// killing are the failpoints that a standalone is killed at.
var killing = []string{"submit.answer", "submit.committed", "ring.publish", "claim.tx", "claim.answer", "claim.committed", "claim.run", "run.effect",
	"finish.answer", "finish.committed", "db.commit"}

// failing are the failures of SQLite and of publishing that are injected.
var failing = []struct{ point, fault string }{
	{"submit.answer", "lost_after"}, {"claim.answer", "lost_after"}, {"finish.answer", "lost_after"},
	{"db.commit", "busy"}, {"db.commit", "lost_before"}, {"db.commit", "lost_after"}, {"db.exec", "busy"}, {"db.exec", "lost_before"},
	{"ring.publish", "lost_before"}, {"ring.publish", "lost_after"},
}

// passesWithin is how long a point is waited for. One that is not passed did nothing, and does not count.
const passesWithin = 5 * time.Second

// killAt lets the process kill itself at a failpoint, and starts it again.
func (l *loop) killAt(ctx context.Context) error {
	point := killing[l.rand.IntN(len(killing))]
	running, err := l.running(ctx)
	if err != nil {
		return err
	}
	f := l.fault(point + " SIGKILL standalone")
	if err := l.set(ctx, point, cluster.Rule{Action: "kill", Skip: l.rand.Int64N(8), Times: 1}); err != nil {
		return err
	}
	passed := time.NewTimer(passesWithin)
	defer passed.Stop()
	select {
	case <-l.s.Done():
		l.ended()
		return l.recover(ctx, f, running)
	case <-passed.C:
		err := l.control(ctx, http.MethodDelete, point, nil, nil)
		if err != nil && !l.s.Running() { // at the last moment
			l.ended()
			return l.recover(ctx, f, running)
		}
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fail lets a failpoint fail a few times.
func (l *loop) fail(ctx context.Context) error {
	what := failing[l.rand.IntN(len(failing))]
	f := history.Fault{Kind: fmt.Sprintf("%s %s standalone", what.point, what.fault), Targets: []string{"standalone"}, Injected: l.rec.Now(),
		Workers: []string{"standalone"}, Parts: []string{history.PartAPI, history.PartScheduler, history.PartDatabase}}
	before, err := l.acted(ctx, what.point)
	if err != nil {
		return err
	}
	times := 1 + l.rand.Int64N(3)
	if err := l.set(ctx, what.point, cluster.Rule{Action: "error", Error: what.fault, Skip: l.rand.Int64N(8), Times: times}); err != nil {
		return err
	}
	acted := int64(0)
	for deadline := l.rec.Now() + passesWithin; acted < times && l.rec.Now() < deadline; {
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
		now, err := l.acted(ctx, what.point)
		if err != nil {
			return err
		}
		acted = now - before
	}
	if err := l.control(ctx, http.MethodDelete, what.point, nil, nil); err != nil {
		return err
	}
	if f.Ended = l.rec.Now(); acted > 0 {
		l.rec.Fault(Group, f)
	}
	return nil
}

func (l *loop) set(ctx context.Context, point string, r cluster.Rule) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return l.control(ctx, http.MethodPut, point, body, nil)
}

// acted is how often a point has acted since the process was started.
func (l *loop) acted(ctx context.Context, point string) (int64, error) {
	var counts map[string]struct{ Acted int64 }
	err := l.control(ctx, http.MethodGet, "", nil, &counts)
	return counts[point].Acted, err
}

var client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// control asks the process's control of failpoints.
func (l *loop) control(ctx context.Context, method, point string, body []byte, into any) error {
	url := "http://" + l.points + "/faults"
	if point != "" {
		url += "/" + point
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("control of failpoints: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return errors.New("control of failpoints: " + method + " " + point + " is answered " + res.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(into)
}
