package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

const listed = `{"items":[{"id":"8","state":"failed","kind":"http","queue":"mail","createdAt":"2026-01-02T03:04:05.678Z","runAt":"2026-01-02T03:20:05.000Z","error":{"code":"http_status","message":"x\u001b[31m\u202e` + "界" + `"}},{"id":"7","state":"running","kind":"echo","queue":"mail"}],"nextCursor":null}`

// on runs a command as if standard output were a terminal.
func on(t *testing.T, screen terminal, url string, environ []string, args ...string) result {
	t.Helper()
	return runWith(t, Deps{screen: &screen, Environ: append([]string{"TASKWEIR_URL=" + url, "TASKWEIR_API_KEY=" + testKey}, environ...)}, "", args...)
}

func TestTablesFitTheTerminal(t *testing.T) {
	date := map[string]string{"Date": "Fri, 02 Jan 2026 03:05:05 GMT"}
	for _, width := range []int{40, 60, 80, 200} {
		f := newFake(t, exchange{want: "GET /v1/tasks?limit=50", answer: listed, header: date})
		r := on(t, terminal{is: true, width: width}, f.url, nil, "tasks", "list")
		r.expect(t, ExitOK, "8 ", "failed", "running")
		for line := range strings.Lines(r.out) {
			if n := columns(strings.TrimSuffix(line, "\n")); n > max(width, 58) {
				t.Errorf("%d columns on %d: %s", n, width, line)
			}
		}
		if strings.ContainsAny(r.out, "\x1b\u202e") {
			t.Errorf("%q", r.out)
		}
		if width == 200 && (!strings.Contains(r.out, "59s ago") || !strings.Contains(r.out, "in 15m0s")) {
			t.Errorf("no ages:\n%s", r.out)
		}
	}
}

func TestColoursAreForTerminals(t *testing.T) {
	ask := exchange{want: "GET /v1/tasks?limit=50", answer: listed}
	if r := on(t, terminal{is: true, width: 200, colour: true}, newFake(t, ask).url, nil, "tasks", "list"); !strings.Contains(r.out, "\x1b[31mfailed\x1b[0m") || strings.Contains(r.out, "x\x1b[31m") {
		t.Errorf("%q", r.out)
	}
	if r := run(t, newFake(t, ask).url, "", "tasks", "list"); strings.Contains(r.out, "\x1b") {
		t.Errorf("%q", r.out)
	}
	for environ, want := range map[string]bool{"": true, "NO_COLOR=1": false, "TERM=dumb": false, "NO_COLOR=": true} {
		if got := colourful([]string{"NO_COLOR=", environ}); got != want {
			t.Errorf("%s: %v", environ, got)
		}
	}
}

func TestTimesAreShownAsAsked(t *testing.T) {
	date := map[string]string{"Date": "Fri, 02 Jan 2026 03:05:05 GMT"}
	at, _ := apiv1.ParseTime("2026-01-02T03:04:05.678Z")
	for format, says := range map[string]string{"auto": local(at), "absolute": local(at), "relative": "59s ago", "utc": "2026-01-02T03:04:05.678Z"} {
		f := newFake(t, exchange{want: "GET /v1/tasks?limit=50", answer: listed, header: date})
		run(t, f.url, "", "tasks", "list", "--time="+format).expect(t, ExitOK, says)
	}
	run(t, "http://x", "", "tasks", "list", "--time=soon").expect(t, ExitUsage, "must be auto, relative, absolute or utc")
	for ms, want := range map[int64]string{0: "now", 999: "now", -999: "now", 1000: "1s ago", -61_000: "in 1m1s", 7_200_000: "2h0m ago", 90_000_000: "1d1h ago", 200 * 86_400_000: "200d ago"} {
		if got := age(apiv1.Time(0), apiv1.Time(ms)); got != want {
			t.Errorf("%d: %s, want %s", ms, got, want)
		}
	}
}

func TestQuietPrintsNames(t *testing.T) {
	f := newFake(t,
		exchange{want: "GET /v1/tasks?limit=50", answer: listed},
		exchange{want: "POST /v1/tasks", status: 201, answer: queued},
		exchange{want: "POST /v1/tasks/7/cancel?wait=5s", answer: queued},
		exchange{want: "GET /v1/tasks/7", answer: done},
		exchange{want: "POST /v1/queues/mail/pause", answer: `{}`})
	for _, c := range []struct{ args, out string }{
		{"tasks list -q", "8\n7\n"}, {"tasks submit echo -q", "7\n"}, {"tasks cancel 7 -q", "7\n"}, {"tasks get 7 -q", "7\n"}, {"queues pause mail -q", "mail\n"},
	} {
		if r := run(t, f.url, "", strings.Fields(c.args)...); r.out != c.out || r.err != "" || r.code != ExitOK {
			t.Errorf("%s: %d %q %q", c.args, r.code, r.out, r.err)
		}
	}
	run(t, f.url, "", "tasks", "list", "-q", "-o=json").expect(t, ExitUsage, "keep one")
}

func TestAllPagesAreFollowed(t *testing.T) {
	pages := []exchange{
		{want: "GET /v1/tasks?limit=2", answer: `{"items":[{"id":"3","payload":{"n": 1.0}},{"id":"2"}],"nextCursor":"c1"}`},
		{want: "GET /v1/tasks?cursor=c1&limit=2", answer: `{"items":[],"nextCursor":"c2"}`},
		{want: "GET /v1/tasks?cursor=c2&limit=2", answer: `{"items":[{"id":"1"}],"nextCursor":null}`},
	}
	if r := run(t, newFake(t, pages...).url, "", "tasks", "list", "--limit=2", "--all-pages", "-o=json"); r.out != "{\"id\":\"3\",\"payload\":{\"n\": 1.0}}\n{\"id\":\"2\"}\n{\"id\":\"1\"}\n" {
		t.Errorf("%q", r.out)
	}
	if r := run(t, newFake(t, pages...).url, "", "tasks", "list", "--limit=2", "--all-pages", "-q"); r.out != "3\n2\n1\n" {
		t.Errorf("%q", r.out)
	}
}

// A pipe gets what changed below what was; JSON one document a look.
func TestWatchAppendsToAPipe(t *testing.T) {
	ask := func(depth int) exchange {
		return exchange{want: "GET /v1/queues?limit=1000", answer: fmt.Sprintf(`{"items":[{"name":"mail","depth":{"value":%d}}]}`, depth)}
	}
	away := exchange{want: "GET /v1/queues?limit=1000", status: 503, answer: `{"status":503,"code":"database_unavailable"}`}
	f := newFake(t, ask(1), ask(1), away, away, away, away, ask(2), exchange{want: "GET /v1/queues?limit=1000", status: 401, answer: `{"status":401,"code":"unauthorized"}`})
	r := run(t, f.url, "", "queues", "list", "-w")
	r.expect(t, ExitCredentials, "no answer for the moment")
	if n := strings.Count(r.out, "QUEUE"); n != 2 || strings.ContainsAny(r.out, "\x1b") {
		t.Errorf("%q", r.out)
	}
	run(t, "http://x", "", "queues", "list", "-w", "--interval=1ms").expect(t, ExitUsage, "100ms or more")
}

func TestWaitEndsWithTheTask(t *testing.T) {
	ask := func(state, wait string) exchange {
		return exchange{want: "GET /v1/tasks/7?wait=" + wait, answer: strings.Replace(done, `"succeeded"`, `"`+state+`"`, 1)}
	}
	for state, code := range map[string]int{"succeeded": ExitOK, "failed": ExitTaskFailed, "cancelled": ExitTaskStopped} {
		run(t, newFake(t, ask("running", "2s"), ask(state, "30s")).url, "", "tasks", "wait", "7").expect(t, code, "state:       "+state)
	}
	f := newFake(t, exchange{want: "GET /v1/tasks/7?wait=2s", slow: true})
	run(t, f.url, "", "tasks", "wait", "7", "--timeout=50ms").expect(t, ExitTimeout, "the time is over and the task is not final")
	run(t, f.url, "", "tasks", "wait", "x").expect(t, ExitUsage, "is not an id")
}

func TestEventsAreFollowedOverLostConnections(t *testing.T) {
	event := func(id, typ string) string {
		return fmt.Sprintf(": life\r\nid: %s\nevent: %s\ndata: {\"id\":%q,\"type\":%q,\ndata: \"task\":\"7\",\"kind\":\"echo\",\"at\":\"2026-01-02T03:04:05.678Z\",\"error\":{\"code\":\"x\\u001b[2J\"}}\n\n", id, typ, id, typ)
	}
	away := exchange{want: "GET /v1/events?queue=mail&type=failed%2Cretrying", status: 503, answer: `{"status":503,"code":"live_view_unavailable"}`}
	sse := map[string]string{"Content-Type": "text/event-stream"}
	f := newFake(t,
		exchange{want: "GET /v1/events?queue=mail&type=failed%2Cretrying", header: sse, answer: event("1", "failed") + event("2", "retrying") + "data: {\"cut"},
		away,
		exchange{want: "GET /v1/events?queue=mail&type=failed%2Cretrying", header: sse, answer: event("3", "reset") + event("4", "failed")})
	r := run(t, f.url, "", "events", "--queue=mail", "--type=failed,retrying", "--count=3")
	r.expect(t, ExitOK, "7  failed    echo: x [2J", "retrying", "reset: events may be missing here", "still trying")
	if strings.Join(f.after, " ") != " 2 2" {
		t.Errorf("Last-Event-ID %q", f.after)
	}
	if strings.Contains(r.out, "reset") {
		t.Errorf("%q", r.out)
	}
	run(t, newFake(t, away).url, "", "events", "--queue=mail", "--type=failed,retrying").expect(t, ExitUnavailable)
	over := exchange{want: "GET /v1/tasks/7/events", status: 204}
	run(t, newFake(t, over, exchange{want: "GET /v1/tasks/7", answer: strings.Replace(done, `"succeeded"`, `"cancelled"`, 1)}).url, "", "tasks", "events", "7", "--after=1.1").expect(t, ExitTaskStopped)
}

func TestLogsAreFollowedEachByteOnce(t *testing.T) {
	head := func(from string) map[string]string {
		return map[string]string{"Taskweir-Attempt": "21", "Taskweir-Log-From": from, "Content-Length": "100", "Content-Type": "text/plain; charset=utf-8"}
	}
	f := newFake(t,
		exchange{want: "GET /v1/tasks/7/log?follow=true", header: head("10"), answer: "one\nt\xc3"}, // cut short
		exchange{want: "GET /v1/tasks/7/log?attempt=21&follow=true&from=16", header: map[string]string{"Taskweir-Attempt": "21", "Taskweir-Log-From": "16"}, answer: "\xa4wo\n"},
		exchange{want: "GET /v1/tasks/7", answer: done})
	if r := run(t, f.url, "", "tasks", "log", "7", "-f"); r.out != "one\ntäwo\n" || r.code != ExitOK {
		t.Errorf("%d %q %q", r.code, r.out, r.err)
	}
	for text, want := range map[string]int{"": 0, "a": 1, "ä": 2, "a\xc3": 1, "\xe7\x95": 0, "界": 3, "x\xf0\x9f\x98": 1, "\xff": 1, "\x80\x80\x80\x80": 4} {
		if got := wholeRunes([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

// Every exit code stands in the help and in the page for operators, in the same words.
func TestExitCodesAreDocumented(t *testing.T) {
	r := runWith(t, everything(), "", "help", "exit-codes")
	page, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range exitCodes {
		r.expect(t, ExitOK, fmt.Sprintf("%-4d %s", c.code, c.text))
		if line := fmt.Sprintf("| %d | %s |", c.code, c.text); !strings.Contains(string(page), line) {
			t.Errorf("docs/cli.md does not say: %s", line)
		}
	}
}

// Whatever a server sends, nothing that steers a terminal comes out, and tables keep to their width.
func FuzzTable(f *testing.F) {
	f.Add("a\x1b[2J", "界\u0301", 20)
	f.Add("\x9b31m", "\u202e\u2028x", 9)
	f.Fuzz(func(t *testing.T, a, b string, width int) {
		width = max(30, min(width, 300))
		out := renderTable([]string{"NAME", "KIND", "TEXT"}, [][]string{{a, b, b + a}}, terminal{width: width})
		if strings.Count(out, "\n") != 2 {
			t.Errorf("%q", out)
		}
		for line := range strings.Lines(out) {
			if line = strings.TrimSuffix(line, "\n"); columns(line) > width || clean(line) != line {
				t.Errorf("%d columns of %d: %q", columns(line), width, line)
			}
		}
		if s := printableLines(a); clean(strings.ReplaceAll(s, "\n", "")) != strings.ReplaceAll(s, "\n", "") {
			t.Errorf("%q", s)
		}
	})
}

// Keys decode to the same however their bytes come in, and every byte is taken in the end.
func FuzzKeys(f *testing.F) {
	f.Add([]byte("q\x1b[A\x1b[5~\x1bOFä\x03"), 3)
	f.Add([]byte("\x1b[999999999999999999999999x"), 1)
	f.Fuzz(func(t *testing.T, raw []byte, piece int) {
		whole, rest := decodeKeys(raw, true)
		if len(rest) > 0 {
			t.Errorf("%q is left", rest)
		}
		var held []byte
		var got []key
		for piece = max(1, min(piece, 64)); len(raw) > 0; raw = raw[min(piece, len(raw)):] {
			var keys []key
			keys, held = decodeKeys(append(held, raw[:min(piece, len(raw))]...), false)
			got = append(got, keys...)
			if len(held) > longestSequence {
				t.Errorf("%d bytes are held", len(held))
			}
		}
		keys, _ := decodeKeys(held, true)
		if got = append(got, keys...); fmt.Sprint(got) != fmt.Sprint(whole) {
			t.Errorf("%q, at once %q", got, whole)
		}
	})
}
