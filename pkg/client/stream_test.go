package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

func say(w http.ResponseWriter, text string) {
	fmt.Fprint(w, text)
	_ = http.NewResponseController(w).Flush()
}

func stream200(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
}

// A stream goes on after the last event, over every way in which a connection ends, and passes a reset on.
func TestEventsResume(t *testing.T) {
	var after []string
	c := scripted(t, func(n int, w http.ResponseWriter, r *http.Request) {
		after = append(after, r.Header.Get("Last-Event-ID"))
		if r.URL.Path != "/v1/events" || r.URL.RawQuery != "queue=q&type=started%2Cfailed" || r.Header.Get("Accept") != "text/event-stream" {
			t.Errorf("%s, Accept %q", r.URL, r.Header.Get("Accept"))
		}
		stream200(w)
		switch n {
		case 1: // an event, half an event, then the connection is cut
			say(w, "retry: 5\n\n:\n\nid: 1-0\nevent: started\ndata: {\"id\":\"1-0\",\"type\":\"started\",\"task\":\"7\",\"new\":{\"a\":1}}\n\nid: 1-1\ndata: {\"id\"")
			cut(t, w)
		case 2: // restarting
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(503)
			fmt.Fprint(w, `{"status":503,"code":"stopping"}`)
		case 3: // a clean end
			say(w, "id: 1-1\nevent: failed\ndata: {\"id\":\"1-1\",\"type\":\"failed\",\"task\":\"7\"}\n\n")
		case 4:
			say(w, "id: 9-0\nevent: reset\ndata: {\"id\":\"9-0\",\"type\":\"reset\"}\n\n")
			<-r.Context().Done() // silence: the watchdog ends it
		default:
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(401)
			fmt.Fprint(w, `{"status":401,"code":"unauthorized"}`)
		}
	})
	c.core.silence = 100 * time.Millisecond
	c.core.pause = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	var got []string
	var last error
	for e, err := range c.Events(t.Context(), EventFilter{Queue: "q", Types: []string{apiv1.EventStarted, apiv1.EventFailed}, After: "0-7"}) {
		if last = err; err == nil {
			got = append(got, e.ID+" "+e.Type)
		}
	}
	if !slices.Equal(got, []string{"1-0 started", "1-1 failed", "9-0 reset"}) || !errors.Is(last, ErrUnauthorized) {
		t.Errorf("%q, %v", got, last)
	}
	if !slices.Equal(after, []string{"0-7", "1-0", "1-0", "1-1", "9-0"}) {
		t.Errorf("Last-Event-ID %q", after)
	}
}

// A stream that was open for long without a word is no server that is away: its end begins the time of patience, and Redis that is gone is
// waited for, unless the stream was never open.
func TestStreamsArePatientAfterALongSilence(t *testing.T) {
	c := scripted(t, func(n int, w http.ResponseWriter, r *http.Request) {
		switch n {
		case 1:
			stream200(w)
			say(w, ": life\n\n")
			time.Sleep(60 * time.Millisecond) // longer than the patience
		case 2:
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(503)
			fmt.Fprint(w, `{"status":503,"code":"live_view_unavailable"}`)
		case 3:
			stream200(w)
			say(w, "id: 1-0\nevent: x\ndata: {\"a\":\ndata: 1.0}\n\n")
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})
	c.core.patience, c.core.policy.Base, c.core.policy.Cap = 50*time.Millisecond, time.Millisecond, time.Millisecond
	got, err := Collect(c.OpenEvents(t.Context(), "/v1/events", nil, ""), 0)
	if err != nil || len(got) != 1 || got[0].ID != "1-0" || got[0].Name != "x" || string(got[0].Data) != "{\"a\":\n1.0}" {
		t.Errorf("%+v, %v", got, err)
	}
	c = scripted(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(503)
		fmt.Fprint(w, `{"status":503,"code":"live_view_unavailable"}`)
	})
	if _, err := Collect(c.OpenEvents(t.Context(), "/v1/events", nil, ""), 0); Code(err) != apiv1.CodeLiveViewUnavailable {
		t.Error(err)
	}
	if _, err := Collect(c.OpenEvents(t.Context(), "no/slash", nil, ""), 0); err == nil {
		t.Error("taken")
	}
}

func TestTaskEventsEndWithTheTask(t *testing.T) {
	c := scripted(t, func(n int, w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Last-Event-ID") == "1.3":
			w.WriteHeader(http.StatusNoContent)
			return
		case r.URL.Path != "/v1/tasks/7/events":
			t.Error(r.URL)
		}
		stream200(w)
		say(w, "id: 0.0\nevent: submitted\ndata: {\"id\":\"0.0\",\"type\":\"submitted\",\"state\":\"queued\"}\n\n"+
			"event: progress\ndata: {\"id\":\"1.0\",\"type\":\"progress\",\"progress\":{\"p\": 1}}\n\n"+
			"id: 1.3\nevent: succeeded\ndata: {\"id\":\"1.3\",\"type\":\"succeeded\",\"state\":\"succeeded\"}\n\n")
		if n == 1 {
			cut(t, w) // the end is not clean: it asks again and is told that this was all
		}
	})
	c.core.pause = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	for range 2 {
		got, err := Collect(c.TaskEvents(t.Context(), 7, ""), 0)
		if err != nil || len(got) != 3 || string(got[1].Progress) != `{"p": 1}` || got[2].State != "succeeded" {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if got, err := Collect(c.TaskEvents(t.Context(), 7, "1.3"), 0); len(got) != 0 || err != nil {
		t.Errorf("%v %v", got, err)
	}
}

func TestStreamsEndAtOnce(t *testing.T) {
	c := scripted(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		stream200(w)
		say(w, "id: 1-0\ndata: {}\n\n")
		<-r.Context().Done()
	})
	for e, err := range c.Events(t.Context(), EventFilter{}) { // by the caller
		if e.ID != "1-0" || err != nil {
			t.Errorf("%+v %v", e, err)
		}
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range c.Events(ctx, EventFilter{}) { // by the context
		cancel()
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Error(last)
	}
}

func TestStreamsThatAreNone(t *testing.T) {
	for _, answer := range []func(w http.ResponseWriter){
		func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<h1>Login</h1>")
		},
		func(w http.ResponseWriter) { stream200(w); fmt.Fprint(w, "data: {]\n\n") },
		func(w http.ResponseWriter) { stream200(w); fmt.Fprint(w, "data: "+strings.Repeat("x", maxLine+1)) },
	} {
		c := scripted(t, func(_ int, w http.ResponseWriter, _ *http.Request) { answer(w) }, WithPatience(time.Millisecond))
		if _, err := Collect(c.Events(t.Context(), EventFilter{}), 0); err == nil {
			t.Error("want an error")
		}
	}
}

func TestOpen(t *testing.T) {
	c := scripted(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.URL.String() != "/v1/new?x=1" {
			t.Error(r.URL)
		}
		stream200(w)
		say(w, "hello")
		<-r.Context().Done()
	})
	c.core.silence = 50 * time.Millisecond
	in, err := c.Open(t.Context(), "/v1/new", map[string][]string{"x": {"1"}}, "text/event-stream", "")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(in)
	if string(raw) != "hello" || !errors.Is(err, errSilent) {
		t.Errorf("%q %v", raw, err)
	}
	in.Close()
	if _, err := c.Open(t.Context(), "v1", nil, "", ""); err == nil {
		t.Error("a path without a slash was taken")
	}
}

func readAll(in io.Reader) (out []RawEvent, err error) {
	s := newSSEReader(in)
	for {
		e, err := s.next()
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
}

func TestSSE(t *testing.T) {
	for text, want := range map[string][]RawEvent{
		"data: a\n\n":                                     {{Data: []byte("a")}},
		"\ufeffdata:a\r\rdata: b\r\n\r\n":                 {{Data: []byte("a")}, {Data: []byte("b")}},
		"id: 7\nevent: x\ndata: a\ndata:  b\ndata\n\n":    {{ID: "7", Name: "x", Data: []byte("a\n b\n")}},
		"id: 7\n\ndata: a\n\nid\ndata: b\n\n":             {{ID: "7", Data: []byte("a")}, {Data: []byte("b")}},
		"event: x\n\ndata: a\n\n":                         {{Data: []byte("a")}},
		": hi\n\nnonsense: 1\nid: a\x00b\ndata: c\n\n":    {{Data: []byte("c")}},
		"data: not finished\n":                            nil,
		"data: a\n\ndata: b":                              {{Data: []byte("a")}},
		"retry: 10\nretry: x\nretry: -1\n\ndata: a:b\n\n": {{Data: []byte("a:b")}},
	} {
		for _, in := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text))} {
			got, _ := readAll(in)
			if len(got) != len(want) {
				t.Errorf("%q: %+v", text, got)
				continue
			}
			for i := range got {
				if got[i].ID != want[i].ID || got[i].Name != want[i].Name || !bytes.Equal(got[i].Data, want[i].Data) {
					t.Errorf("%q: %d is %+v, want %+v", text, i, got[i], want[i])
				}
			}
		}
	}
}

// Whatever a stream holds: no panic, nothing without data, and cutting it never makes another event of its beginning.
func FuzzSSE(f *testing.F) {
	f.Add([]byte("retry: 2000\n\nid: 1\nevent: x\ndata: {}\n\n:\n\n"), 9)
	f.Add([]byte("\ufeffdata:a\r\n\r\ndata\r\r"), 3)
	f.Fuzz(func(t *testing.T, raw []byte, at int) {
		all, _ := readAll(bytes.NewReader(raw))
		if at < 0 || at > len(raw) {
			at = len(raw) / 2
		}
		part, err := readAll(bytes.NewReader(raw[:at]))
		if err == nil || len(part) > len(all) {
			t.Fatalf("%q: %d events of %d, %v", raw[:at], len(part), len(all), err)
		}
		for i, e := range part {
			if e.ID != all[i].ID || e.Name != all[i].Name || !bytes.Equal(e.Data, all[i].Data) {
				t.Fatalf("%q cut at %d: %+v, want %+v", raw, at, e, all[i])
			}
		}
	})
}

// A log is followed over cuts, restarts and silence, each byte once, and no other attempt takes the place of the first.
func TestFollowLog(t *testing.T) {
	running, done := `{"id":"7","state":"running","attempts":[{"id":"3","epoch":1,"outcome":null}]}`, `{"id":"7","state":"failed","attempts":[{"id":"3","epoch":1,"outcome":"failed"},{"id":"4","epoch":2}]}`
	logs := 0
	c := scripted(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/tasks/7" {
			fmt.Fprint(w, map[bool]string{true: running, false: done}[logs < 4])
			return
		}
		logs++
		if want := map[int]string{1: "follow=true", 2: "attempt=3&follow=true", 3: "attempt=3&follow=true&from=2", 4: "attempt=3&follow=true&from=4"}[logs]; r.URL.RawQuery != want {
			t.Errorf("request %d: %s, want %s", logs, r.URL.RawQuery, want)
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		switch logs {
		case 1: // the task has not run yet, the server stops
			say(w, "")
		case 2:
			w.Header().Set(headerAttempt, "3")
			say(w, "ab")
			cut(t, w)
		case 3:
			w.Header().Set(headerAttempt, "3")
			w.Header().Set(headerLogFrom, "2")
			say(w, "cd")
			<-r.Context().Done() // nothing is written for long
		case 4: // a part is lost
			w.Header().Set(headerAttempt, "3")
			w.Header().Set(headerLogFrom, "9")
			say(w, "xyz")
		}
	})
	c.core.silence = 100 * time.Millisecond
	c.core.pause = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	got, err := Collect(c.FollowLog(t.Context(), 7, LogQuery{}), 0)
	if err != nil || len(got) != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, want := range []LogPiece{{3, 0, []byte("ab")}, {3, 2, []byte("cd")}, {3, 9, []byte("xyz")}} {
		if got[i].Attempt != want.Attempt || got[i].From != want.From || !bytes.Equal(got[i].Text, want.Text) {
			t.Errorf("piece %d is %+v, want %+v", i, got[i], want)
		}
	}
}
