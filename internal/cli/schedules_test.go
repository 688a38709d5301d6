package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const nightly = `{"id":"16","app":"a","version":3,"name":"nightly","description":"At 02:30, Europe/Berlin","spec":{"cron":"30 2 * * *","dialect":"auto"},"zone":"Europe/Berlin","dstGap":"shift","dstOverlap":"first",` +
	`"misfire":{"policy":"once","maxAgeMs":3600000},"overlap":"skip","jitterMs":0,"startAt":null,"endAt":null,"maxConsecutiveFailures":3,"consecutiveFailures":1,"paused":false,"pausedReason":null,"nextAt":"2027-01-02T01:30:00.000Z",` +
	`"labels":{"team":"x"},"createdAt":"2026-01-02T03:04:05.678Z","updatedAt":"2026-01-02T03:04:05.678Z","task":{"kind":"http","queue":"default","priority":"normal","timeoutMs":60000,` +
	`"retry":{"policy":"exponential","baseMs":1000,"capMs":3600000,"jitter":0.2,"max":3},"uniqueKey":"u","uniqueScope":"until_finished","uniqueWindowMs":null,"uniqueOnConflict":"reject","limitKey":"customer-7","labels":{},"payload":{"url": "http://x/{{slot}}"}}}`

func TestCreateSendsWhatItWasTold(t *testing.T) {
	f := newFake(t,
		exchange{want: "POST /v1/schedules", status: 201, answer: nightly,
			body: `{"name":"nightly","spec":{"cron":"30 2 * * *","dialect":"unix"},"zone":"Europe/Berlin","dstGap":"skip","dstOverlap":"both","misfire":{"policy":"all","maxAgeMs":60000},"overlap":"queue","jitterMs":1500,` +
				`"startAt":"2030-01-01T00:00:00.000Z","endAt":"2031-01-01T00:00:00.000Z","maxConsecutiveFailures":3,"paused":true,"labels":{"team":"x=y"},` +
				`"task":{"kind":"http","queue":"q","priority":"low","timeoutMs":-1,"retry":{"policy":"fixed","baseMs":250,"max":0},"uniqueKey":"u","labels":{"k":"v"},"payload":{"url": "<{{slot}}>"}}}`},
		exchange{want: "POST /v1/schedules?app=b", status: 201, answer: nightly, body: `{"name":"poll","spec":{"everyMs":90000,"anchor":"2030-01-01T00:00:00.000Z"},"task":{"kind":"echo"}}`},
		exchange{want: "POST /v1/schedules", status: 201, answer: nightly, body: `{"any": "thing"}`})
	run(t, f.url, "", "schedules", "create", "nightly", "--cron=30 2 * * *", "--dialect=unix", "--zone=Europe/Berlin", "--dst-gap=skip", "--dst-overlap=both", "--misfire=all", "--misfire-max-age=1m",
		"--overlap=queue", "--jitter=1500ms", "--start=2030-01-01T00:00:00Z", "--end=2031-01-01T00:00:00Z", "--max-failures=3", "--paused", "--label=team=x=y", "--kind=http", "--queue=q", "--priority=low",
		"--timeout=none", "--retry-policy=fixed", "--retry-base=250ms", "--retry-max=0", "--unique-key=u", "--task-label=k=v", `--payload={"url": "<{{slot}}>"}`, "--idempotency-key=mine").
		expect(t, ExitOK, "16 nightly: At 02:30, Europe/Berlin; next 2027-01-0")
	if f.keys[0] != "mine" {
		t.Errorf("key %q", f.keys[0])
	}
	run(t, f.url, "", "schedules", "create", "poll", "--every=90s", "--anchor=2030-01-01T00:00:00Z", "--kind=echo", "--app=b", "-o=json").expect(t, ExitOK, nightly+"\n")
	path := filepath.Join(t.TempDir(), "s.json")
	if err := os.WriteFile(path, []byte("{\"any\": \"thing\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, f.url, "", "schedules", "create", "--file", path).expect(t, ExitOK)
	if f.keys[1] == "" || f.keys[1] == f.keys[2] {
		t.Errorf("keys %q", f.keys)
	}
}

func TestEditChangesWhatTheFlagsName(t *testing.T) {
	unchanged := `"zone":"Europe/Berlin","dstGap":"shift","dstOverlap":"first","misfire":{"policy":"once","maxAgeMs":3600000},`
	work := `"task":{"kind":"http","queue":"default","priority":"normal","timeoutMs":60000,"retry":{"policy":"exponential","baseMs":1000,"capMs":3600000,"jitter":0.2,"max":3},"uniqueKey":"u","uniqueScope":"until_finished","uniqueOnConflict":"reject","limitKey":"customer-7","payload":{"url": "http://x/{{slot}}"}}}`
	f := newFake(t,
		exchange{want: "GET /v1/schedules?limit=2&name=nightly", answer: `{"items":[` + nightly + `]}`},
		exchange{want: "GET /v1/schedules/16", answer: nightly},
		exchange{want: "PUT /v1/schedules/16", answer: nightly, body: `{"name":"nightly","spec":{"everyMs":60000},` + unchanged + `"overlap":"allow","maxConsecutiveFailures":3,"labels":{"team":"x"},` + work},
		exchange{want: "GET /v1/schedules/16", answer: nightly},
		exchange{want: "PUT /v1/schedules/16", status: 412, answer: `{"status":412,"code":"precondition_failed","detail":"it was changed since it was read"}`,
			body: `{"name":"other","spec":{"cron":"30 2 * * *","dialect":"auto"},` + unchanged + `"overlap":"skip","maxConsecutiveFailures":3,"paused":false,"labels":{"team":"x"},` +
				strings.Replace(strings.Replace(work, `"max":3`, `"max":0`, 1), `"uniqueKey":"u","uniqueScope":"until_finished","uniqueOnConflict":"reject",`, "", 1)})
	run(t, f.url, "", "schedules", "edit", "nightly", "--every=1m", "--overlap=allow").expect(t, ExitOK, "16 nightly")
	run(t, f.url, "", "schedules", "edit", "16", "--name=other", "--paused=false", "--retry-max=0", "--unique-key=").expect(t, ExitConflict, "changed since it was read (412 precondition_failed)")
	if f.matches[2] != `"3"` {
		t.Errorf("If-Match %q", f.matches[2])
	}
}

func TestSchedulesAreShown(t *testing.T) {
	f := newFake(t,
		exchange{want: "GET /v1/schedules?limit=50", answer: `{"items":[` + nightly + `,{"id":"15","name":"p","paused":true,"pausedReason":"failures","task":{"kind":"echo"}},{"id":"14","name":"e"}],"nextCursor":"abc"}`},
		exchange{want: "GET /v1/schedules?app=system&limit=5&paused=true", answer: `{"items":[]}`},
		exchange{want: "GET /v1/schedules/16", answer: nightly},
		exchange{want: "GET /v1/schedules/16", answer: nightly},
		exchange{want: "GET /v1/schedules/16/slots?limit=50&outcome=fired", answer: `{"items":[{"slot":"2026-01-02T03:04:05.678Z","lastSlot":"2026-01-02T03:04:05.678Z","count":1,"origin":"backfill","backfill":"17","taskId":"7","outcome":"fired","firedAt":"2026-01-02T03:04:05.678Z"},` +
			`{"slot":"2026-01-02T03:04:05.678Z","lastSlot":"2026-01-03T03:04:05.678Z","count":1001,"origin":"planned","outcome":"skipped_misfire","detail":"why\u001b[31m"}],"nextCursor":"abc"}`},
		exchange{want: "GET /v1/schedules/16/preview?count=3", answer: `{"description":"d","fires":[]}`})
	run(t, f.url, "", "schedules").expect(t, ExitOK, "ID  NAME", "active", "paused (failures)", "ended", "more: add --cursor abc")
	run(t, f.url, "", "schedules", "list", "--app=system", "--paused=true", "--limit=5").expect(t, ExitOK)
	run(t, f.url, "", "schedules", "get", "16").expect(t, ExitOK, "spec:        30 2 * * * (auto)", "clock change: gap shift, overlap first", "failures:    1 in a row, paused at 3", `payload:     {"url": "http://x/{{slot}}"}`, "unique key:  u, until_finished, reject", "limit key:   customer-7")
	run(t, f.url, "", "schedules", "get", "16", "-o=json").expect(t, ExitOK, nightly+"\n")
	r := run(t, f.url, "", "schedules", "slots", "16", "--outcome=fired")
	r.expect(t, ExitOK, "backfill 17", "(1001)", "more: add --cursor abc")
	if strings.Contains(r.out, "\x1b") {
		t.Error("an escape sequence of a server reached the terminal")
	}
	run(t, f.url, "", "schedules", "preview", "--schedule=16", "--count=3").expect(t, ExitOK, "nothing is left")
}

func TestScheduleActions(t *testing.T) {
	slot := `{"slot":"2026-01-02T03:04:05.678Z","count":1,"origin":"manual","taskId":"7","outcome":"fired"}`
	f := newFake(t,
		exchange{want: "POST /v1/schedules/16/pause", answer: nightly},
		exchange{want: "POST /v1/schedules/17/pause", status: 404, answer: `{"status":404,"code":"schedule_not_found","detail":"no such schedule"}`},
		exchange{want: "POST /v1/schedules/16/resume?app=b", answer: nightly},
		exchange{want: "DELETE /v1/schedules/16", status: 204},
		exchange{want: "DELETE /v1/schedules/16", status: 204},
		exchange{want: "POST /v1/schedules/16/trigger", status: 201, answer: slot},
		exchange{want: "POST /v1/schedules/16/trigger", status: 409, answer: `{"status":409,"code":"schedule_overlap","detail":"it runs","taskId":"7"}`},
		exchange{want: "POST /v1/schedules/16/skip-next", answer: `{"slot":"2026-01-02T03:04:05.678Z","outcome":"skipped"}`},
		exchange{want: "POST /v1/schedules/16/backfill", body: `{"from":"2026-01-01T00:00:00.000Z","to":"2026-01-02T00:00:00.000Z"}`, status: 201, answer: `{"id":"18","items":[` + slot + `,{"outcome":"held"}]}`},
		exchange{want: "POST /v1/schedules/16/backfill", answer: `{"id":null,"items":[]}`},
		exchange{want: "GET /v1/schedules?limit=2&name=none", answer: `{"items":[]}`},
		exchange{want: "GET /v1/schedules?app=%2A&limit=2&name=twins", answer: `{"items":[` + nightly + `,` + nightly + `]}`},
		exchange{want: "POST /v1/schedules", status: 409, answer: `{"status":409,"code":"name_taken","detail":"taken","scheduleId":"12"}`},
		exchange{want: "POST /v1/schedules/preview", body: `{"spec":{"cron":"61 * * * *"},"zone":"UTC","count":7,"jitterMs":1000}`, status: 422,
			answer: `{"status":422,"code":"invalid","detail":"spec.cron: no","errors":[{"field":"spec.cron","rule":"range","message":"no","place":{"text":"ü\t61 *","at":2,"length":2}},{"field":"a","rule":"r","message":"m","place":{"text":"x","at":9,"length":2}}]}`})
	run(t, f.url, "", "schedules", "pause", "16", "17").expect(t, ExitNotFound, "16 paused", "17: no such schedule")
	run(t, f.url, "", "schedules", "resume", "16", "--app=b").expect(t, ExitOK, "16 resumed")
	run(t, f.url, "", "schedules", "delete", "16").expect(t, ExitOK, "16 deleted")
	run(t, f.url, "", "schedules", "delete", "16", "-o=json").expect(t, ExitOK, `{"name":"16","state":"deleted"}`)
	run(t, f.url, "", "schedules", "trigger", "16").expect(t, ExitOK, "fired, task 7")
	run(t, f.url, "", "schedules", "trigger", "16").expect(t, ExitConflict, "it runs (409 schedule_overlap)", "the other task: 7")
	run(t, f.url, "", "schedules", "skip-next", "16").expect(t, ExitOK, "skipped")
	run(t, f.url, "", "schedules", "backfill", "16", "--from=2026-01-01T00:00:00Z", "--to=2026-01-02T00:00:00Z").expect(t, ExitOK, "backfill 18: 2 slots, 1 fired, 1 held")
	run(t, f.url, "", "schedules", "backfill", "16", "--from=2026-01-01T00:00:00Z", "--to=2026-01-02T00:00:00Z").expect(t, ExitOK, "no slot lies in that range")
	run(t, f.url, "", "schedules", "get", "none").expect(t, ExitNotFound, `no schedule named "none"`)
	run(t, f.url, "", "schedules", "get", "twins", "--app=*").expect(t, ExitUsage, "several apps")
	run(t, f.url, "", "schedules", "create", "x", "--every=1m", "--kind=echo").expect(t, ExitConflict, "the other schedule: 12")
	run(t, f.url, "", "schedules", "preview", "61 * * * *", "--zone=UTC", "--count=7", "--jitter=1s").expect(t, ExitRefused, "spec.cron: no (422 invalid)\n    ? 61 *\n      ^^\n  a: m\n")
}

func TestTriggersAreRepeatedUnderOneKey(t *testing.T) {
	f := newFake(t,
		exchange{want: "POST /v1/schedules/16/trigger", drop: true},
		exchange{want: "POST /v1/schedules/16/trigger", status: 201, answer: `{"slot":"2026-01-02T03:04:05.678Z","taskId":"7","outcome":"fired"}`},
		exchange{want: "POST /v1/schedules/16/backfill", status: 503, answer: `{"status":503,"code":"backfill_incomplete"}`},
		exchange{want: "POST /v1/schedules/16/backfill", status: 201, answer: `{"id":"18","items":[]}`},
		exchange{want: "POST /v1/schedules/16/skip-next", drop: true})
	run(t, f.url, "", "schedules", "trigger", "16").expect(t, ExitOK, "fired, task 7")
	run(t, f.url, "", "schedules", "backfill", "16", "--from=2026-01-01T00:00:00Z", "--to=2026-01-02T00:00:00Z").expect(t, ExitOK, "backfill 18")
	run(t, f.url, "", "schedules", "skip-next", "16").expect(t, ExitUnavailable) // it may have happened
	f.mu.Lock()                                                                  // the handler of a dropped connection may still be returning
	defer f.mu.Unlock()
	if k := f.keys; k[0] == "" || k[0] != k[1] || k[2] == "" || k[2] != k[3] || k[2] == k[0] || k[4] != "" {
		t.Errorf("keys %q", f.keys)
	}
}

func TestScheduleCommandLineMistakes(t *testing.T) {
	for args, says := range map[string]string{
		"schedules create":                                  "needs a name, or --file",
		"schedules create x --file=y":                       "--file says everything",
		"schedules create x --at=tomorrow":                  "--at: ",
		"schedules create x --start=tomorrow":               "--start: ",
		"schedules create x --label=y":                      "--label: \"y\" is not key=value",
		"schedules create x --task-label=y":                 "--task-label: \"y\" is not key=value",
		"schedules create x --payload=y":                    "--payload: is no JSON",
		"schedules create --file=/nowhere":                  "--file: ",
		"schedules create x --every=often":                  "invalid argument",
		"schedules edit":                                    "an id or a name",
		"schedules backfill 16 --from=x --to=y":             "--from: ",
		"schedules backfill 16 --from=2026-01-01T00:00:00Z": "--to: ",
		"schedules preview x --cron=y":                      "given twice",
		"schedules preview x --schedule=16":                 "--schedule says everything",
		"schedules preview x --from=y":                      "--from: ",
		"schedules paus":                                    "did you mean pause?",
	} {
		runWith(t, Deps{Environ: []string{"TASKWEIR_API_KEY=" + testKey}}, "", strings.Fields(args)...).expect(t, ExitUsage, says)
	}
	f := newFake(t, exchange{want: "GET /v1/schedules/16", answer: nightly}, exchange{want: "GET /v1/schedules/16", answer: nightly})
	run(t, f.url, "", "schedules", "edit", "16").expect(t, ExitUsage, "nothing to change")
	run(t, f.url, "", "schedules", "edit", "16", "--file=x", "--zone=UTC").expect(t, ExitUsage, "--file says everything")
}
