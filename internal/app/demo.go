package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sort"
	"strings"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// Demo shows the system at work: it submits three tasks through the HTTP API, as any client would, that call a small
// receiver of its own, and prints each state change. One runs at once, one after 2 s, one fails once and then succeeds.
func (a *App) Demo(ctx context.Context, out io.Writer) error {
	receiver, err := newReceiver()
	if err != nil {
		return err
	}
	defer receiver.close()
	d := &demo{url: a.URL(), key: a.APIKey(), out: out, client: &http.Client{Timeout: 10 * time.Second}, names: map[apiv1.ID]string{}, seen: map[apiv1.ID]int{}}
	for _, t := range []demoTask{
		{"greet", fmt.Sprintf(`{"kind":"http","payload":{"url":"%s/greet","body":{"hello":"world"}}}`, receiver.url)},
		{"later", fmt.Sprintf(`{"kind":"http","delayMs":2000,"payload":{"url":"%s/later","body":{"hello":"in 2 s"}}}`, receiver.url)},
		{"flaky", fmt.Sprintf(`{"kind":"http","retry":{"policy":"fixed","baseMs":500,"max":3},"payload":{"url":"%s/flaky","body":{"hello":"again"}}}`, receiver.url)},
	} {
		if err := d.submit(ctx, t); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	if err := d.watch(ctx); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	fmt.Fprintf(out, "\nTaskweir serves at %s\nAPI key of the app \"default\": %s\n\nTry:\n", d.url, d.key)
	fmt.Fprintf(out, "  curl -s %s/v1/tasks -H 'Authorization: Bearer %s' -d '{\"kind\":\"echo\",\"payload\":{\"hello\":\"world\"}}'\n", d.url, d.key)
	fmt.Fprintf(out, "  curl -s '%s/v1/tasks?limit=5' -H 'Authorization: Bearer %s'\n\n", d.url, d.key)
	return nil
}

// receiver is the demo's own HTTP service. /flaky answers 503 once.
type receiver struct {
	url    string
	server *http.Server
	done   chan struct{}
}

func newReceiver() (*receiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("demo receiver: %w", err)
	}
	var flaky atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("POST /flaky", func(w http.ResponseWriter, _ *http.Request) {
		if flaky.Add(1) == 1 {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "at last")
	})
	mux.HandleFunc("POST /", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "thanks") })
	r := &receiver{url: "http://" + l.Addr().String(), server: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		if err := r.server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			return // the demo's tasks then fail, which it prints
		}
	}()
	return r, nil
}

func (r *receiver) close() {
	_ = r.server.Close() // nothing of it is needed any more
	<-r.done
}

type demoTask struct{ name, body string }

// demo follows its tasks through the API. Every change is derived from the task's own times, so that none is missed
// however quickly it passes.
type demo struct {
	url, key string
	out      io.Writer
	client   *http.Client
	ids      []string
	names    map[apiv1.ID]string
	seen     map[apiv1.ID]int // changes of a task that were printed
}

func (d *demo) submit(ctx context.Context, t demoTask) error {
	var task apiv1.Task
	if err := d.call(ctx, http.MethodPost, "/v1/tasks", t.body, &task); err != nil {
		return err
	}
	d.ids = append(d.ids, task.ID.String())
	d.names[task.ID] = t.name
	return nil
}

func (d *demo) watch(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var page apiv1.TaskList
		if err := d.call(ctx, http.MethodGet, "/v1/tasks?ids="+strings.Join(d.ids, ","), "", &page); err != nil {
			return err
		}
		if d.print(page.Items) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// change is one line of the demo.
type change struct {
	at   time.Time
	task apiv1.ID
	text string
}

// print writes what is new, in order of time, and reports whether every task is final.
func (d *demo) print(tasks []apiv1.Task) bool {
	final := len(tasks) == len(d.ids)
	var fresh []change
	for _, t := range tasks {
		all := changes(t)
		fresh = append(fresh, all[min(d.seen[t.ID], len(all)):]...)
		d.seen[t.ID] = max(d.seen[t.ID], len(all))
		final = final && (t.State == "succeeded" || t.State == "failed" || t.State == "cancelled")
	}
	sort.SliceStable(fresh, func(i, j int) bool { return fresh[i].at.Before(fresh[j].at) })
	for _, c := range fresh {
		fmt.Fprintf(d.out, "%s  %-5s  %s\n", c.at.Local().Format("15:04:05.000"), d.names[c.task], c.text)
	}
	return final
}

// changes lists the state changes of a task so far. A later reading of the same task begins with the same ones.
func changes(t apiv1.Task) []change {
	first := "queued"
	if len(t.Attempts) == 0 && t.State == "scheduled" || len(t.Attempts) > 0 && t.Attempts[0].StartedAt-t.CreatedAt >= 1000 {
		first = "scheduled"
	}
	out := []change{{t.CreatedAt.Time(), t.ID, first}}
	for _, at := range t.Attempts {
		out = append(out, change{at.StartedAt.Time(), t.ID, fmt.Sprintf("running    attempt %d", at.Epoch)})
		if at.FinishedAt == 0 || at.Outcome == "" {
			break
		}
		text := at.Outcome
		if at.Error != nil {
			text += "     " + at.Error.Message
		}
		if at.Outcome != "succeeded" {
			text = fmt.Sprintf("attempt %d %s", at.Epoch, text)
		}
		out = append(out, change{at.FinishedAt.Time(), t.ID, text})
	}
	return out
}

func (d *demo) call(ctx context.Context, method, path, body string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, d.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+d.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, raw)
	}
	return json.Unmarshal(raw, into)
}
