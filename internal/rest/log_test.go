package rest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/rest"
	"github.com/taskweir/taskweir/internal/secret"
	"github.com/taskweir/taskweir/internal/task"
)

// writing is a worker whose attempts write: what it is asked it answers as package worker does.
type writing struct {
	signals
	mu      sync.Mutex
	written map[int64][]byte // by task; nil: nothing runs
	epoch   map[int64]int32
	dead    bool
	peeks   int
	report  string // JSON
}

func (x *writing) Peek(_ context.Context, _, id int64, epoch int32, from int64) (task.LiveDetail, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.peeks++
	switch {
	case x.dead:
		return task.LiveDetail{}, errors.New("no answer")
	case x.epoch[id] != epoch:
		return task.LiveDetail{Gone: true}, nil
	}
	all := x.written[id]
	if from < 0 {
		all = nil
	}
	from = min(max(from, int64(len(all)-task.MaxLog), 0), int64(len(all)))
	return task.LiveDetail{Epoch: epoch, Round: int64(x.peeks), Progress: json.RawMessage(x.report), Log: bytes.Clone(all[from:]), LogFrom: from, LogSize: int64(len(all))}, nil
}

// runs says that an attempt runs (0: none does).
func (x *writing) runs(id int64, epoch int32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.epoch[id], x.written[id] = epoch, nil
}

func (x *writing) write(id int64, p []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.written[id] = append(x.written[id], p...)
}

func (x *writing) asked() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.peeks
}

// logs is a world with such a worker, and processes that serve its API.
type logs struct {
	*world
	x *writing
}

func newLogs(t *testing.T) *logs {
	return &logs{newWorld(t), &writing{written: map[int64][]byte{}, epoch: map[int64]int32{}}}
}

// process serves the API; end ends it as a process ends.
func (l *logs) process() (url string, end func()) {
	l.t.Helper()
	box, err := secret.New([32]byte{1})
	if err != nil {
		l.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	svc := control.New(control.Options{Store: l.store, Ringer: l.bells, Clock: l.store.Clock(), Signals: l.x, Checks: checks, Secrets: box, Logger: log})
	srv := httptest.NewServer(rest.New(rest.Options{Service: svc, Logger: log}))
	end = sync.OnceFunc(func() { svc.StopWaiting(); srv.Close(); svc.Close(context.Background()) })
	l.t.Cleanup(end)
	return srv.URL, end
}

// begin begins an attempt of a task.
func (l *logs) begin(id int64) (worker int64, c task.Claimed) {
	worker, c = l.start(id)
	row, err := l.store.State(context.Background(), 0, id)
	if err != nil {
		l.t.Fatal(err)
	}
	l.x.runs(id, row.Epoch)
	return worker, c
}

// end ends an attempt with what it wrote as its log.
func (l *logs) end(worker int64, c task.Claimed, to task.State) {
	id := c.Tasks[0].ID
	l.x.mu.Lock()
	all := l.x.written[id]
	l.x.epoch[id] = 0
	l.x.mu.Unlock()
	l.finish(worker, c, to, func(e *task.Ending) {
		e.Log = all[max(0, len(all)-task.MaxLog):]
		e.LogSkipped = int64(len(all) - len(e.Log))
		if to == task.Waiting {
			e.Outcome, e.RetryAt = task.OutcomeFailed, l.store.Clock().Now()
		}
	})
}

// tail is an open log.
type tail struct {
	t    *testing.T
	res  *http.Response
	in   *bufio.Reader
	from int64
}

func (l *logs) follow(t *testing.T, url string, id int64, query string) *tail {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/tasks/"+strconv.FormatInt(id, 10)+"/log?follow=true"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+rootKey)
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	res, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		raw, _ := io.ReadAll(res.Body)
		t.Fatalf("%d %s", res.StatusCode, raw)
	}
	from, err := strconv.ParseInt(res.Header.Get("Taskweir-Log-From"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return &tail{t, res, bufio.NewReader(res.Body), from}
}

// wants reads exactly some bytes.
func (s *tail) wants(want []byte) {
	s.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(s.in, got); err != nil || !bytes.Equal(got, want) {
		s.t.Fatalf("%d bytes %.40q (%v), want %d bytes %.40q", n, got[:n], err, len(want), want)
	}
}

// rest reads to the end, which must be the server's.
func (s *tail) rest() []byte {
	s.t.Helper()
	got, err := io.ReadAll(s.in)
	if err != nil {
		s.t.Fatalf("%q, then %v", got, err)
	}
	return got
}

var binary = []byte{0, 1, 0xff, 0xfe, '\r', '\n', 0xc3, '"', 0x7f, 0}

// Whoever follows from before the first attempt on gets what it writes, byte for byte, and the end of the answer when it ends; of
// two attempts each has its own.
func TestFollowingALog(t *testing.T) {
	l := newLogs(t)
	url, _ := l.process()
	id := int64(l.submit(`{"kind":"echo","retry":{"max":5}}`).ID)
	early := l.follow(t, url, id, "")
	worker, c := l.begin(id)
	first := strconv.FormatInt(c.Tasks[0].AttemptID, 10)
	l.x.write(id, binary)
	early.wants(binary)
	late := l.follow(t, url, id, "&from=3")
	if late.from != 3 || late.res.Header.Get("Taskweir-Attempt") != first {
		t.Errorf("from %d of %v", late.from, late.res.Header)
	}
	late.wants(binary[3:])
	l.x.write(id, []byte("more"))
	early.wants([]byte("more"))
	l.x.write(id, []byte(", and its last words")) // nobody may have asked for them before its end
	l.end(worker, c, task.Waiting)
	for _, s := range []*tail{early, late} {
		if got := string(bytes.TrimPrefix(s.rest(), []byte("more"))); got != ", and its last words" {
			t.Errorf("%q", got)
		}
	}
	time.Sleep(2 * time.Millisecond) // due again later than it ended
	worker, c = l.begin(id)
	second := l.follow(t, url, id, "")
	both := l.follow(t, url, id, "&attempt="+first) // has ended: all of it, at once
	if got := string(both.rest()); got != string(binary)+"more, and its last words" || both.res.Header.Get("Taskweir-Attempt") != first {
		t.Errorf("%q", got)
	}
	l.x.write(id, []byte("again"))
	second.wants([]byte("again"))
	l.end(worker, c, task.Succeeded)
	if got := second.rest(); len(got) > 0 || second.res.Header.Get("Taskweir-Attempt") == first {
		t.Errorf("%q", got)
	}
	before := l.x.asked()
	if got := string(l.follow(t, url, id, "").rest()); got != "again" || l.x.asked() != before {
		t.Errorf("%q; a worker was asked for what has ended %d times", got, l.x.asked()-before)
	}
}

// A client goes on at another process where the one that ended stopped, and what it has is what was written.
func TestFollowingALogOverARestart(t *testing.T) {
	l := newLogs(t)
	id := int64(l.submit(`{"kind":"echo"}`).ID)
	worker, c := l.begin(id)
	var all, got []byte
	for i := range 4 {
		url, end := l.process()
		s := l.follow(t, url, id, "&from="+strconv.Itoa(len(got)))
		if s.from != int64(len(got)) {
			t.Fatalf("from %d, want %d", s.from, len(got))
		}
		for range 2 {
			p := append(bytes.Repeat([]byte{byte(i)}, 3000*i), binary...)
			l.x.write(id, p)
			all = append(all, p...)
			s.wants(all[len(got):])
			got = bytes.Clone(all)
		}
		l.x.write(id, []byte("while no process is there"))
		all = append(all, "while no process is there"...)
		end()
		rest, err := io.ReadAll(s.in) // as far as it came
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("the end of a process looks like that of the attempt: %v", err)
		}
		got = append(got, rest...)
	}
	l.end(worker, c, task.Succeeded)
	url, _ := l.process()
	got = append(got, l.follow(t, url, id, "&from="+strconv.Itoa(len(got))).rest()...)
	if !bytes.Equal(got, all) {
		t.Fatalf("%d bytes, want %d", len(got), len(all))
	}
}

// From beyond the end nothing comes until so much was written; nothing is given twice or from another place.
func TestFollowingALogFromBeyondItsEnd(t *testing.T) {
	l := newLogs(t)
	url, _ := l.process()
	id := int64(l.submit(`{"kind":"echo"}`).ID)
	worker, c := l.begin(id)
	l.x.write(id, []byte("0123456789"))
	s, never := l.follow(t, url, id, "&from=15"), l.follow(t, url, id, "&from=9223372036854775807")
	if s.from != 15 {
		t.Errorf("from %d", s.from)
	}
	for before := l.x.asked(); l.x.asked() < before+4; { // it was asked in vain
		time.Sleep(10 * time.Millisecond)
	}
	l.x.write(id, []byte("0123456789"))
	s.wants([]byte("56789"))
	l.end(worker, c, task.Succeeded)
	if got := s.rest(); len(got) > 0 {
		t.Errorf("%q", got)
	}
	if got := never.rest(); len(got) > 0 {
		t.Errorf("%q", got)
	}
	if s := l.follow(t, url, id, "&from=100"); s.from != 20 || len(s.rest()) > 0 {
		t.Errorf("of an ended attempt from %d", s.from)
	}
}

// Of more than is kept the last 64 KiB come, live and from what is stored.
func TestFollowingMoreThanIsKept(t *testing.T) {
	l := newLogs(t)
	url, _ := l.process()
	id := int64(l.submit(`{"kind":"echo"}`).ID)
	worker, c := l.begin(id)
	huge := make([]byte, 5<<20)
	for i := range huge {
		huge[i] = byte(i * 7 >> 3)
	}
	l.x.write(id, huge)
	kept := huge[len(huge)-task.MaxLog:]
	s := l.follow(t, url, id, "")
	if want := int64(len(huge) - task.MaxLog); s.from != want {
		t.Errorf("from %d, want %d", s.from, want)
	}
	s.wants(kept)
	l.x.write(id, []byte("end"))
	l.end(worker, c, task.Succeeded)
	if got := string(s.rest()); got != "end" {
		t.Errorf("%q", got)
	}
	s = l.follow(t, url, id, "")
	if got := s.rest(); s.from != int64(len(huge)-task.MaxLog+3) || !bytes.Equal(got, append(bytes.Clone(kept[3:]), "end"...)) {
		t.Errorf("%d bytes from %d", len(got), s.from)
	}
}

// A worker that died says nothing any more: whoever follows is told by the end of its attempt.
func TestFollowingTheLogOfADeadWorker(t *testing.T) {
	l := newLogs(t)
	url, _ := l.process()
	id := int64(l.submit(`{"kind":"echo"}`).ID)
	_, c := l.begin(id)
	l.x.write(id, []byte("its last"))
	s := l.follow(t, url, id, "")
	s.wants([]byte("its last"))
	l.x.mu.Lock()
	l.x.dead = true
	l.x.mu.Unlock()
	before := l.x.asked()
	for l.x.asked() <= before {
		time.Sleep(time.Millisecond)
	}
	first := time.Now()
	for l.x.asked() <= before+1 {
		time.Sleep(time.Millisecond)
	}
	if d := time.Since(first); d < 900*time.Millisecond {
		t.Errorf("asked again after %v: each asking of the dead keeps another from asking for a second", d)
	}
	if _, err := l.store.Release(context.Background(), c.ClaimID, nil, task.CauseLost); err != nil {
		t.Fatal(err)
	}
	if got := s.rest(); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

// Whoever goes away is not asked for any more.
func TestNobodyFollowsNobodyAsks(t *testing.T) {
	l := newLogs(t)
	url, end := l.process()
	id := int64(l.submit(`{"kind":"echo"}`).ID)
	l.begin(id)
	l.x.write(id, []byte("x"))
	s := l.follow(t, url, id, "")
	s.wants([]byte("x"))
	s.res.Body.Close()
	end() // waits for what serves it
	before := l.x.asked()
	time.Sleep(1200 * time.Millisecond) // more than two askings
	if l.x.asked() != before {
		t.Error("a worker is asked for nobody")
	}
	if _, err := net.Dial("tcp", url[len("http://"):]); err == nil {
		t.Error("it serves still")
	}
}
