package cli

import (
	"encoding/json"
	"strings"
	"testing"
)

// history is a task that fails once, waits, and succeeds, as seen at four moments.
var history = []string{
	`{"id":"7","kind":"http","queue":"default","state":"scheduled","createdAt":"2026-01-02T03:04:05.000Z","runAt":"2026-01-02T03:04:07.000Z","attempts":[]}`,
	`{"id":"7","kind":"http","queue":"default","state":"running","createdAt":"2026-01-02T03:04:05.000Z","runAt":"2026-01-02T03:04:07.000Z","attempts":[{"id":"1","epoch":1,"worker":"3","startedAt":"2026-01-02T03:04:07.002Z"}]}`,
	`{"id":"7","kind":"http","queue":"default","state":"scheduled","createdAt":"2026-01-02T03:04:05.000Z","runAt":"2026-01-02T03:04:09.000Z","attempts":[{"id":"1","epoch":1,"worker":"3","startedAt":"2026-01-02T03:04:07.002Z","finishedAt":"2026-01-02T03:04:08.000Z","outcome":"timed_out","error":{"code":"timeout","message":"took too long"}}]}`,
	`{"id":"7","kind":"http","queue":"default","state":"succeeded","createdAt":"2026-01-02T03:04:05.000Z","runAt":"2026-01-02T03:04:09.000Z","finishedAt":"2026-01-02T03:04:09.100Z","attempts":[{"id":"1","epoch":1,"worker":"3","startedAt":"2026-01-02T03:04:07.002Z","finishedAt":"2026-01-02T03:04:08.000Z","outcome":"timed_out","error":{"code":"timeout","message":"took too long"}},
	 {"id":"2","epoch":2,"worker":"4","startedAt":"2026-01-02T03:04:09.001Z","finishedAt":"2026-01-02T03:04:09.100Z","outcome":"succeeded"}]}`,
}

func watched(tasks ...string) exchange {
	return exchange{want: "GET /v1/tasks?ids=7", answer: `{"items":[` + strings.Join(tasks, ",") + `]}`}
}

func TestWatchTellsEachChangeOnceWithItsTime(t *testing.T) {
	f := newFake(t, watched(history[0]), watched(history[0]), watched(history[1]), watched(history[2]), watched(history[3]))
	r := run(t, f.url, "", "tasks", "watch", "7", "7", "-o", "json")
	r.expect(t, ExitOK)
	var got []string
	for line := range strings.Lines(r.out) {
		var c change
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		got = append(got, c.At.String()[14:]+" "+c.State)
	}
	want := "04:05.000Z scheduled|04:07.002Z running|04:08.000Z scheduled|04:09.001Z running|04:09.100Z succeeded"
	if strings.Join(got, "|") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "|"), want)
	}
}

func TestWatchTellsWhatHappenedBefore(t *testing.T) {
	f := newFake(t, watched(history[3]))
	r := run(t, f.url, "", "tasks", "watch", "7")
	r.expect(t, ExitOK, "attempt 1 timed out after 998ms: timeout: took too long", "attempt 2 succeeded after 99ms", ".100  7  succeeded")
	if n := strings.Count(r.out, "\n"); n != 5 {
		t.Errorf("%d lines:\n%s", n, r.out)
	}
}

func TestWatchEndsWithTheVerdict(t *testing.T) {
	cancelled := `{"id":"7","kind":"http","queue":"default","state":"cancelled","reason":"by_user","createdAt":"2026-01-02T03:04:05.000Z","runAt":"2026-01-02T03:04:05.000Z","finishedAt":"2026-01-02T03:04:06.000Z","attempts":[]}`
	f := newFake(t, watched(cancelled))
	run(t, f.url, "", "tasks", "watch", "7").expect(t, ExitTaskStopped, "queued", "cancelled by_user")
	f = newFake(t, watched())
	run(t, f.url, "", "tasks", "watch", "7").expect(t, ExitNotFound, "no such task: 7")
}

func TestWatchOutlivesAShortOutage(t *testing.T) {
	gone := exchange{want: "GET /v1/tasks?ids=7", status: 503, answer: `{"status":503,"code":"unavailable"}`}
	f := newFake(t, watched(history[0]), gone, gone, gone, gone, gone, watched(history[3]))
	r := run(t, f.url, "", "tasks", "watch", "7")
	r.expect(t, ExitOK, "still trying", "succeeded")
	if strings.Count(r.err, "still trying") != 1 {
		t.Errorf("said more than once: %s", r.err)
	}
}
