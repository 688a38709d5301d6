package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/events"
	"github.com/taskweir/taskweir/internal/rest"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// ends reads a stream to its end, which must be the server's.
func (s *sse) ends() {
	s.t.Helper()
	_, _ = io.Copy(io.Discard, s.res.Body)
	if err := s.res.Request.Context().Err(); err != nil {
		s.t.Errorf("%s goes on", s.res.Request.URL.Path)
	}
}

// keyOf gives a new API key and how to revoke it.
func (l *live) keyOf(app, scope string) (key string, revoke func()) {
	l.t.Helper()
	k := decode[apiv1.Key](l.do("POST", "/v1/apps/"+app+"/keys", `{"scope":"`+scope+`"}`).want(201))
	return k.Key, func() { l.do("DELETE", "/v1/apps/"+app+"/keys/"+k.ID.String(), "").want(204) }
}

func (l *live) with(key string) *live {
	c := *l
	c.world = l.as(key)
	return &c
}

func (l *live) ticket(query, body string) string {
	l.t.Helper()
	return decode[apiv1.Ticket](l.do("POST", "/v1/events/tickets"+query, body).want(201)).Ticket
}

// No stream outlives the key that it was opened with, whatever it streams, and whether by the key or by a ticket made with it.
func TestStreamsEndWithTheirKey(t *testing.T) {
	onLive(t, func(l *live) {
		app, _ := l.newApp("theirs", "read")
		admins, _ := l.newApp("admins", "read")
		nobody := l.with("")
		mine := l.open("/v1/events").want(200)
		mine.until("reset") // from here on everything is told
		for _, how := range []string{"revoked", "disabled"} {
			key, revoke := l.keyOf(app, "submit")
			adminKey, revokeAdmin := l.keyOf(admins, "admin")
			other, admin := l.with(key), l.with(adminKey)
			id := other.submit(`{"kind":"echo"}`).ID.String()
			one := `{"task":"` + id + `"}`
			open := []*sse{
				other.open("/v1/events"),
				other.open("/v1/tasks/" + id + "/events"),
				other.open("/v1/tasks/" + id + "/log?follow=true"),
				nobody.open("/v1/events?ticket=" + other.ticket("", "")),
				nobody.open("/v1/tasks/" + id + "/events?ticket=" + other.ticket("", one)),
				nobody.open("/v1/tasks/" + id + "/log?follow=true&ticket=" + other.ticket("", one)),
				admin.open("/v1/events?app=*"),
				nobody.open("/v1/events?ticket=" + admin.ticket("?app=*", "")),
				nobody.open("/v1/events?ticket=" + admin.ticket("?app="+app, "")),
			}
			unused := []string{"/v1/events?ticket=" + other.ticket("", ""), "/v1/tasks/" + id + "/log?ticket=" + other.ticket("", one),
				"/v1/events?ticket=" + admin.ticket("?app=*", ""), "/v1/events?ticket=" + admin.ticket("?app="+app, "")}
			for _, s := range open {
				s.want(200)
			}
			status := http.StatusUnauthorized
			if how == "revoked" {
				revoke()
				revokeAdmin()
			} else {
				status = http.StatusForbidden
				l.do("PATCH", "/v1/apps/"+app, `{"disabled":true}`).want(200)
				l.do("PATCH", "/v1/apps/"+admins, `{"disabled":true}`).want(200)
			}
			for _, s := range open {
				s.ends()
			}
			for _, path := range unused {
				nobody.open(path).want(status)
			}
			l.submit(`{"kind":"echo"}`)
			mine.until("submitted") // the others' key is none of its business
		}
	})
}

// However many come with a ticket at once, one is let in.
func TestATicketIsGoodOnce(t *testing.T) {
	onLive(t, func(l *live) {
		for range 10 {
			path := l.url + "/v1/events?ticket=" + l.ticket("", "")
			var all sync.WaitGroup
			got := make(chan int, 8)
			for range cap(got) {
				all.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
					defer cancel()
					req, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
					if err != nil {
						t.Error(err)
						return
					}
					res, err := http.DefaultClient.Do(req)
					if err != nil {
						t.Error(err)
						return
					}
					res.Body.Close()
					got <- res.StatusCode
				})
			}
			all.Wait()
			close(got)
			in := 0
			for status := range got {
				switch status {
				case http.StatusOK:
					in++
				case http.StatusUnauthorized:
				default:
					t.Errorf("status %d", status)
				}
			}
			if in != 1 {
				t.Fatalf("%d were let in", in)
			}
		}
		http.DefaultClient.CloseIdleConnections()
	})
}

// An app has 1,500 streams of all sorts, a process 2,000. Whoever is told so is let in when another has left.
func TestTooManyStreams(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	_, otherKey := w.newApp("other", "submit")
	other := w.as(otherKey)
	fill := func(w *world, n int) (leave func()) {
		t.Helper()
		id := int64(w.submit(`{"kind":"echo"}`).ID)
		who, err := w.svc.Authenticate(ctx, w.key)
		if err != nil {
			t.Fatal(err)
		}
		var last *control.TaskStream
		for i := range n {
			st, _, err := w.svc.FollowTask(ctx, who, id, "")
			if err != nil {
				t.Fatalf("stream %d: %v", i, err)
			}
			t.Cleanup(st.Close)
			last = st
		}
		return last.Close
	}
	refused := func(w *world) {
		t.Helper()
		id := w.submit(`{"kind":"echo"}`).ID.String()
		for _, path := range []string{"/v1/tasks/" + id + "/events", "/v1/tasks/" + id + "/log?follow=true"} {
			a := w.do("GET", path, "").want(429)
			if a.problem().Code != "too_many_streams" || a.Header().Get("Retry-After") == "" {
				t.Errorf("%s: %s", path, a.Body)
			}
		}
		w.do("GET", "/v1/tasks/"+id+"/log", "").want(200) // no stream
	}
	leave := fill(w, 1500)
	refused(w)
	leaveOther := fill(other, 500)
	refused(other)
	leaveOther()
	fill(other, 1)
	leave()
	leaveOther = fill(other, 1)
	refused(w) // its place was taken
	leaveOther()
	fill(w, 1)
	refused(w)
}

// A client that never reads has no listener after the time that a write may take, and holds nobody else up meanwhile.
func TestAClientThatNeverReads(t *testing.T) {
	onLive(t, func(l *live) {
		reader := l.open("/v1/events?type=failed").want(200)
		reader.until("reset")
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(l.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", rootKey)
		row, err := l.store.State(t.Context(), 0, int64(l.submit(`{"kind":"echo"}`).ID))
		if err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(20 * time.Second); l.hub.Listeners() < 2; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("it was never let in")
			}
		}
		c := task.Change{Type: task.ChangeEnded, State: task.Succeeded, AppID: row.AppID, LaneID: row.LaneID, KindID: row.KindID, At: 1}
		failed := c
		failed.State = task.Failed
		for end := time.Now().Add(25 * time.Second); l.hub.Listeners() > 1; time.Sleep(60 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("it listens still")
			}
			many := make([]task.Change, 1000)
			for i := range many {
				many[i] = c
				c.TaskID++
			}
			failed.TaskID++
			l.writer.Changed(append(many, failed))
			if e := reader.until("failed"); int64(e.Task) != failed.TaskID {
				t.Fatalf("%+v, want %d", e, failed.TaskID)
			}
		}
	})
}

// Whatever texts an event holds, it is one event: an id, a type and one line of JSON that says the same.
func FuzzFrame(f *testing.F) {
	f.Add("1-2-3-4", "app", "q\nevent: x", "k\r\n\r\ndata: {}", "code\x00", "it\u2028broke\xff\n\n", int64(5), uint8(4), uint8(3))
	f.Add("g-0-0-65535", "", "", "", "", "", int64(-1), uint8(200), uint8(9))
	f.Fuzz(func(t *testing.T, id, app, queue, kind, code, message string, n int64, typ, state uint8) {
		id = strings.Map(func(r rune) rune { // ids are made of these
			if strings.ContainsRune("0123456789abcdefghijklmnopqrstuvwxyz-", r) {
				return r
			}
			return '0'
		}, id)
		c := &task.Change{Type: task.ChangeType(1 + typ%4), State: task.State(1 + state%6), TaskID: max(n, 1), At: 1, ErrCode: code, ErrMessage: message}
		if state == 9 {
			c = nil
		}
		raw := rest.AppendEvent(nil, id, c, &events.Names{App: app, Queue: queue, Kind: kind})
		lines := bytes.Split(raw, []byte("\n"))
		if len(lines) != 5 || len(lines[3])+len(lines[4]) > 0 || bytes.ContainsRune(raw, '\r') || bytes.ContainsRune(raw, 0) || string(lines[0]) != "id: "+id {
			t.Fatalf("%q", raw)
		}
		var e apiv1.Event
		data, ok := bytes.CutPrefix(lines[2], []byte("data: "))
		if err := json.Unmarshal(data, &e); !ok || err != nil || string(lines[1]) != "event: "+e.Type || e.ID != id {
			t.Fatalf("%q: %v", raw, err)
		}
		if c != nil && utf8.ValidString(queue) && e.Queue != queue {
			t.Fatalf("%q lost what it says", raw)
		}
	})
}

// A report whose JSON has lines of its own is one line in the stream.
func TestAReportInSeveralLinesIsOneEvent(t *testing.T) {
	l := newLogs(t)
	url, _ := l.process()
	l.x.report = "{\n\"done\": 7,\r\n\n\"event\":\r\"x\"}"
	id := l.submit(`{"kind":"echo"}`).ID
	l.begin(int64(id))
	s := (&live{world: l.world, url: url}).open("/v1/tasks/" + id.String() + "/events").want(200)
	if e := s.until("progress"); string(e.Progress) != `{"done":7,"event":"x"}` {
		t.Errorf("%s", e.Progress)
	}
}

// Neither a ticket nor an id of another app's stream shows anything of that app.
func TestStreamsShowNothingOfOtherApps(t *testing.T) {
	onLive(t, func(l *live) {
		app, key := l.newApp("theirs", "submit")
		other, nobody := l.with(key), l.with("")
		mine := l.open("/v1/events").want(200)
		mine.until("reset")
		id := l.submit(`{"kind":"echo"}`).ID.String()
		mine.until("submitted")
		from := mine.last
		l.submit(`{"kind":"echo"}`)
		theirs := other.submit(`{"kind":"echo"}`).ID
		mine.until("submitted")
		for _, s := range []*sse{
			other.open("/v1/events", "Last-Event-ID", from),
			nobody.open("/v1/events?lastEventId=" + from + "&ticket=" + other.ticket("", "")),
		} {
			if e, _ := s.want(200).next(); e.Type != "submitted" || e.Task != theirs {
				t.Errorf("%+v", e)
			}
		}
		for _, query := range []string{"&app=*", "&app=" + task.SystemApp} {
			nobody.open("/v1/events?ticket=" + other.ticket("", "") + query).want(403)
			nobody.open("/v1/events?ticket=" + l.ticket("", "") + "&app=" + app).want(403) // it reads what it was made for, whoever made it
		}
		other.do("POST", "/v1/events/tickets", `{"task":"`+id+`"}`).want(404)
		other.do("POST", "/v1/events/tickets?app=*", "").want(403)
		nobody.open("/v1/tasks/" + id + "/events?ticket=" + other.ticket("", `{"task":"`+theirs.String()+`"}`)).want(401)
		nobody.open("/v1/tasks/" + id + "/log?ticket=" + other.ticket("", `{"task":"`+theirs.String()+`"}`)).want(401)
	})
}
