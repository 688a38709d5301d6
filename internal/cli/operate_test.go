package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestBatchSendsLinesInPieces(t *testing.T) {
	var lines, first, answers strings.Builder
	for i := range 1001 {
		fmt.Fprintf(&lines, "{\"kind\": \"echo\", \"payload\": %d.0}\n\n", i)
		if i < 1000 {
			if i > 0 {
				first.WriteString(",")
				answers.WriteString(",")
			}
			fmt.Fprintf(&first, `{"kind": "echo", "payload": %d.0}`, i)
			fmt.Fprintf(&answers, `{"task":{"id":"%d","state":"queued"}}`, i+1)
		}
	}
	f := newFake(t,
		exchange{want: "POST /v1/tasks/batch", body: `{"tasks":[` + first.String() + `]}`, answer: `{"items":[` + answers.String() + `]}`},
		exchange{want: "POST /v1/tasks/batch", drop: true},
		exchange{want: "POST /v1/tasks/batch", body: `{"tasks":[{"kind": "echo", "payload": 1000.0}]}`, answer: `{"items":[{"error":{"status":422,"code":"invalid","detail":"kind: no\u001b[2J","errors":[{"field":"kind","rule":"unknown","message":"no"}]}}]}`})
	r := run(t, f.url, lines.String(), "tasks", "submit-batch")
	r.expect(t, ExitFailure, "1 queued\n2 queued\n", "1000 queued\n", "-, line 2001: kind: no [2J (422 invalid)", "1000 tasks made, 1 refused")
	if f.keys[0] == "" || f.keys[0] == f.keys[1] || f.keys[1] != f.keys[2] {
		t.Errorf("keys %q", f.keys)
	}
}

func TestBatchReadsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tasks")
	if err := os.WriteFile(path, []byte("{\"kind\":\"echo\"}\n{\"kind\":\"sleep\"}"), 0o600); err != nil {
		t.Fatal(err)
	}
	answer := `{"items":[{"task":{"id":"1","state":"queued","payload":1.0}},{"task":{"id":"2","state":"queued"}}]}`
	f := newFake(t, exchange{want: "POST /v1/tasks/batch", answer: answer}, exchange{want: "POST /v1/tasks/batch", answer: answer}, exchange{want: "POST /v1/tasks/batch", answer: `{"items":[]}`})
	if r := run(t, f.url, "", "tasks", "submit-batch", path, "-q"); r.out != "1\n2\n" || r.err != "" {
		t.Errorf("%q %q", r.out, r.err)
	}
	if r := run(t, f.url, "", "tasks", "submit-batch", path, "-o=json"); r.out != "{\"task\":{\"id\":\"1\",\"state\":\"queued\",\"payload\":1.0}}\n{\"task\":{\"id\":\"2\",\"state\":\"queued\"}}\n" {
		t.Errorf("%q", r.out)
	}
	run(t, f.url, "", "tasks", "submit-batch", path).expect(t, ExitFailure, "2 tasks were sent and 0 answered")
	run(t, f.url, "{}\nhello", "tasks", "submit-batch").expect(t, ExitUsage, "-, line 2: is no JSON object")
	run(t, f.url, "", "tasks", "submit-batch", "/nowhere").expect(t, ExitUsage, "no such file")
}

func TestLimitsAreChangedByWhatTheFlagsName(t *testing.T) {
	f := newFake(t,
		exchange{want: "GET /v1/queues/mail", answer: `{"name":"mail","paused":true,"limits":{"rate":{"tasks":5,"perMs":1000,"burst":7},"concurrency":3}}`},
		exchange{want: "PUT /v1/queues/mail", body: `{"limits":{"rate":{"tasks":100,"perMs":60000,"burst":7},"concurrency":3},"paused":true}`,
			answer: `{"name":"mail","paused":true,"limits":{"rate":{"tasks":100,"perMs":60000,"burst":7},"concurrency":3}}`},
		exchange{want: "GET /v1/limit-keys/a%2Fb", status: 404, answer: `{"status":404,"code":"limit_key_not_found"}`},
		exchange{want: "PUT /v1/limit-keys/a%2Fb", body: `{"limits":{"rate":null,"concurrency":2}}`, answer: `{"key":"a/b","limits":{"concurrency":2}}`},
		exchange{want: "GET /v1/queues/mail", answer: `{"name":"mail","limits":{"rate":null,"concurrency":3}}`},
		exchange{want: "PUT /v1/queues/mail", body: `{}`, answer: `{"name":"mail","limits":{}}`},
		exchange{want: "GET /v1/apps/a", answer: `{"id":"a","limits":{"rate":null,"concurrency":3}}`},
		exchange{want: "PATCH /v1/apps/a", body: `{"limits":{"rate":{"tasks":5,"perMs":100},"concurrency":3}}`, answer: `{"id":"a","limits":{"rate":{"tasks":5,"perMs":100},"concurrency":3}}`},
		exchange{want: "GET /v1/limit-keys?limit=50", answer: `{"items":[{"key":"k","paused":true,"limits":{"concurrency":2},"running":1}],"nextCursor":null}`})
	run(t, f.url, "", "queues", "set", "mail", "--rate=100/1m").expect(t, ExitOK, "mail paused, rate 100/1m0s (burst 7), concurrency 3")
	run(t, f.url, "", "limit-keys", "set", "a/b", "--concurrency=2").expect(t, ExitOK, "a/b open, concurrency 2")
	run(t, f.url, "", "queues", "set", "mail", "--concurrency=none").expect(t, ExitOK, "mail open, no limits")
	run(t, f.url, "", "apps", "update", "a", "--rate=5/100ms").expect(t, ExitOK, "limits:      rate 5/100ms, concurrency 3")
	run(t, f.url, "", "limit-keys").expect(t, ExitOK, "k    paused  -     2            1")
	for flag, says := range map[string]string{"--rate=fast": "is no rate like 50/s", "--rate=5/": "is no rate", "--rate=5/0s": "is no rate", "--concurrency=x": "is no number, and not none", "--burst=3": "goes with a rate", "": "nothing to change"} {
		f := newFake(t)
		if flag != "" {
			f.left = []exchange{{want: "GET /v1/queues/q", status: 404, answer: `{"status":404,"code":"queue_not_found"}`}}
		}
		run(t, f.url, "", strings.Fields("queues set q "+flag)...).expect(t, ExitUsage, says)
	}
}

const bulkDone = `{"id":"9","action":"retry","state":"done","matched":12,"changed":10,"skipped":2}`

func TestBulkCountsAsksAndLooksOn(t *testing.T) {
	create := exchange{want: "POST /v1/bulk", status: 202, body: `{"action":"retry","filter":{"state":"failed","queue":"mail","labels":{"a":"b=c"},"from":"2030-01-01T00:00:00.000Z"}}`, answer: `{"id":"9","action":"retry","state":"running"}`}
	dry := create
	dry.body = strings.TrimSuffix(create.body, "}") + `,"dryRun":true}`
	counted := exchange{want: "GET /v1/bulk/9", answer: `{"id":"9","action":"retry","state":"done","matched":12,"changed":11,"skipped":1,"dryRun":true}`}
	look := exchange{want: "GET /v1/bulk/9", answer: `{"id":"9","action":"retry","state":"running","matched":5}`}
	end := exchange{want: "GET /v1/bulk/9", answer: bulkDone}
	args := []string{"bulk", "retry", "--state=failed", "--queue=mail", "--label=a=b=c", "--from=2030-01-01T00:00:00Z"}
	ask := func(f *fakeAPI, answer string) result {
		return runWith(t, Deps{asks: true, Environ: []string{"TASKWEIR_URL=" + f.url, "TASKWEIR_API_KEY=" + testKey}}, answer, args...)
	}
	ask(newFake(t, dry, counted, create, look, end), "y\n").expect(t, ExitOK, "retry: 12 tasks match. Go on? [y/N]", "9 done: 12 tasks matched, 10 changed, 2 skipped")
	ask(newFake(t, dry, counted), "n\n").expect(t, ExitInterrupted, "nothing was changed")
	ask(newFake(t, dry, counted), "").expect(t, ExitInterrupted, "nothing was changed")
	run(t, newFake(t).url, "y\n", args...).expect(t, ExitUsage, "add --yes to retry these tasks, or --dry-run")
	run(t, newFake(t, create, look, end).url, "", append(args, "--yes")...).expect(t, ExitOK, "9 done")
	run(t, newFake(t, create).url, "", append(args, "--yes", "--no-wait")...).expect(t, ExitOK, "9 running")
	run(t, newFake(t, dry, counted).url, "", append(args, "--dry-run")...).expect(t, ExitOK, "9 done, dry run: 12 tasks match, 11 would be changed, 1 skipped; nothing was changed")
	if r := run(t, newFake(t, create, end).url, "", append(args, "--yes", "-o=json")...); r.out != bulkDone+"\n" {
		t.Errorf("%q", r.out)
	}
	gaveUp := exchange{want: "GET /v1/bulk/9", answer: `{"id":"9","state":"failed","error":"the database is gone"}`}
	run(t, newFake(t, gaveUp).url, "", "bulk", "watch", "9").expect(t, ExitTaskFailed, "it gave up: the database is gone")
	stopped := exchange{want: "GET /v1/bulk/9", answer: `{"id":"9","state":"stopped"}`}
	run(t, newFake(t, stopped).url, "", "bulk", "watch", "9").expect(t, ExitTaskStopped, "9 stopped")
	over := exchange{want: "POST /v1/bulk/9/stop", answer: bulkDone}
	run(t, newFake(t, over).url, "", "bulk", "stop", "9").expect(t, ExitOK, "9 done\n") // too late
	run(t, newFake(t).url, "", "bulk", "cancel", "--yes").expect(t, ExitUsage, "say which tasks")
	run(t, newFake(t).url, "", "bulk", "cancel", "--yes", "--ids=x").expect(t, ExitUsage, `--ids: "x" is not an id`)
	run(t, newFake(t, exchange{want: "POST /v1/bulk", body: `{"action":"cancel","filter":{"ids":["7","8"]}}`, answer: bulkDone}).url, "", "bulk", "cancel", "--yes", "--ids=7,8").expect(t, ExitOK)
}

// Ages are reckoned by the server's clock.
func TestAgesAreReckonedByTheServer(t *testing.T) {
	date := map[string]string{"Date": "Fri, 02 Jan 2026 03:05:05 GMT"}
	srv := newFake(t, exchange{want: "GET /v1/tasks?from=2026-01-02T02%3A50%3A05.000Z&limit=50&to=2026-01-01T03%3A05%3A05.000Z", header: date, answer: `{"items":[]}`})
	srv.health = date
	run(t, srv.url, "", "tasks", "list", "--from=15m", "--to=1d").expect(t, ExitOK)
	run(t, srv.url, "", "tasks", "list", "--from=yesterday").expect(t, ExitUsage, `--from: "yesterday" is neither a time like`)
}

func TestStatsAreSummedUp(t *testing.T) {
	answer := `{"from":"2026-01-01T00:00:00.000Z","to":"2026-01-01T04:00:00.000Z","stepMs":3600000,"by":"queue","items":[
		{"at":"2026-01-01T00:00:00.000Z","key":"mail","submitted":10,"succeeded":8,"failed":1,"waitP95Ms":20,"runP95Ms":1500},{"at":"2026-01-01T02:00:00.000Z","key":"mail","submitted":5,"succeeded":1,"retried":2,"timedOut":1,"cancelled":1,"lost":1,"waitP95Ms":70,"runP95Ms":null},
		{"at":"2026-01-01T02:00:00.000Z","key":"slow","submitted":1,"succeeded":0,"waitP95Ms":null,"runP95Ms":null}]}`
	want := "GET /v1/stats?by=queue&from=2026-01-01T00%3A00%3A00.000Z&stepMs=3600000"
	f := newFake(t, exchange{want: want, answer: answer}, exchange{want: want, answer: answer}, exchange{want: want, answer: answer})
	args := []string{"stats", "--from=2026-01-01T00:00:00Z", "--step=1h", "--by=queue"}
	run(t, f.url, "", args...).expect(t, ExitOK, "mail  15         9          1       2        1          1          1     70ms      1.5s     █·▂·", "slow  1 ")
	run(t, f.url, "", append(args, "--steps", "--time=utc")...).expect(t, ExitOK, "2026-01-01T02:00:00.000Z  mail  5")
	if r := run(t, f.url, "", append(args, "-o=json")...); r.out != answer+"\n" {
		t.Errorf("%q", r.out)
	}
	for _, c := range []struct {
		numbers []int64
		width   int
		want    string
	}{{nil, 5, ""}, {[]int64{0, 0}, 5, "··"}, {[]int64{1, 1, 1, 1}, 2, "▆▆"}, {[]int64{0, 1, 4, 7}, 9, "·▂▅█"}} {
		if got := sparkline(c.numbers, c.width); got != c.want {
			t.Errorf("%v: %s, want %s", c.numbers, got, c.want)
		}
	}
}

func TestAuditTellsWhoChangedWhat(t *testing.T) {
	f := newFake(t, exchange{want: "GET /v1/audit?action=queue.pause&limit=50", answer: `{"items":[{"id":"5","at":"2026-01-02T03:04:05.678Z","app":"a","actor":{"app":"a","key":"3","keyName":"ops\u001b[2J","surface":"v1","address":"10.0.0.1"},"action":"queue.pause","target":"mail","before":{"paused":false},"after":{"paused":true}}],"nextCursor":"abc"}`})
	run(t, f.url, "", "audit", "--action=queue.pause").expect(t, ExitOK, "a/ops [2J from 10.0.0.1", `{"paused":false} → {"paused":true}`, "more: add --cursor abc")
}

func TestAppsAreManaged(t *testing.T) {
	f := newFake(t,
		exchange{want: "POST /v1/apps", body: `{"callbackUrl":"https://x","id":"old","name":"shop","signingSecret":"a-secret-to-keep-12","weight":3}`, status: 201, answer: `{"id":"old","name":"shop","weight":3,"signingSecret":"a-secret-to-keep-12"}`},
		exchange{want: "PATCH /v1/apps/old", body: `{"callbackUrl":""}`, answer: `{"id":"old","name":"shop"}`},
		exchange{want: "PATCH /v1/apps/old", body: `{"paused":true}`, answer: `{"id":"old","paused":true}`},
		exchange{want: "POST /v1/apps/old/secret?overlapMs=86400000", answer: `{"id":"old","signingSecret":"fresh"}`},
		exchange{want: "GET /v1/apps/old/keys?limit=1000", answer: `{"items":[{"id":"5","name":"ci","scope":"submit","hint":"abcd","revokedAt":"2026-01-02T03:04:05.678Z"}]}`},
		exchange{want: "POST /v1/apps/old/keys", body: `{"name":"ci","scope":"submit"}`, status: 201, answer: `{"id":"6","scope":"submit","key":"twk_secret"}`},
		exchange{want: "POST /v1/apps/old/keys", status: 201, answer: `{"id":"6","scope":"read","key":"twk_secret"}`},
		exchange{want: "DELETE /v1/apps/old/keys/5", status: 204},
		exchange{want: "DELETE /v1/apps/old/keys/6", status: 404, answer: `{"status":404,"code":"api_key_not_found"}`})
	run(t, f.url, "a-secret-to-keep-12\n", "apps", "create", "shop", "--id=old", "--secret-stdin", "--weight=3", "--callback-url=https://x").expect(t, ExitOK, "secret:      a-secret-to-keep-12", "not shown again")
	run(t, f.url, "", "apps", "update", "old", "--callback-url=").expect(t, ExitOK, "name:        shop")
	run(t, f.url, "", "apps", "update", "old").expect(t, ExitUsage, "nothing to change")
	run(t, f.url, "", "apps", "pause", "old").expect(t, ExitOK, "old paused")
	run(t, f.url, "", "apps", "rotate-secret", "old", "--overlap=24h").expect(t, ExitOK, "fresh")
	run(t, f.url, "", "apps", "keys", "list", "old").expect(t, ExitOK, "…abcd", "revoked 2026-01-0")
	run(t, f.url, "", "apps", "keys", "create", "old", "--scope=submit", "--name=ci").expect(t, ExitOK, "key:         twk_secret")
	if r := run(t, f.url, "", "apps", "keys", "create", "old", "--scope=read", "-q"); r.out != "twk_secret\n" || r.err != "" {
		t.Errorf("%q %q", r.out, r.err)
	}
	run(t, f.url, "", "apps", "keys", "create", "old").expect(t, ExitUsage, "--scope is needed")
	run(t, f.url, "", "apps", "keys", "revoke", "old", "5", "6").expect(t, ExitNotFound, "5 revoked", "6: ")
	run(t, f.url, "", "apps", "keys", "revoke", "old", "x").expect(t, ExitUsage, "taskweir apps keys list old shows the ids")
}

func TestVersionsOfClientAndServer(t *testing.T) {
	f := newFake(t,
		exchange{want: "GET /metrics", open: true, answer: "# HELP taskweir_build_info x\ntaskweir_build_info{go=\"go1.26\",version=\"v9\"} 1\n"},
		exchange{want: "GET /metrics", open: true, answer: "taskweir_build_info{version=\"v9\"} 1\n"},
		exchange{want: "GET /metrics", open: true, answer: "x 1\n"},
		exchange{want: "GET /openapi.json", open: true, answer: `{"openapi":"3.1.0"}`},
		exchange{want: "GET /openapi.json", open: true, status: 404, answer: `{"status":404,"code":"not_found"}`})
	run(t, f.url, "", "version", "--server").expect(t, ExitOK, "taskweir 1.2.3 go", "server v9")
	run(t, f.url, "", "version", "--server", "-o=json").expect(t, ExitOK, `"server":"v9","version":"1.2.3"}`)
	run(t, f.url, "", "version", "--server").expect(t, ExitFailure, "does not tell its version")
	run(t, f.url, "", "openapi").expect(t, ExitOK, `{"openapi":"3.1.0"}`)
	run(t, f.url, "", "openapi").expect(t, ExitNotFound, "it is older than this program")
}

// An error of the command line or the API says what to do about it.
func TestErrorsSayWhatToDo(t *testing.T) {
	missing := func(want, code string) exchange {
		return exchange{want: want, status: 404, answer: `{"status":404,"code":"` + code + `","detail":"no such thing"}`}
	}
	for _, c := range []struct {
		x    exchange
		args string
		code int
		says string
	}{
		{missing("GET /v1/tasks/9", "task_not_found"), "tasks get 9", ExitNotFound, "taskweir tasks list"},
		{missing("POST /v1/queues/q/pause", "queue_not_found"), "queues pause q", ExitNotFound, "taskweir queues"},
		{missing("GET /v1/apps/a", "app_not_found"), "apps get a", ExitNotFound, "taskweir apps"},
		{missing("DELETE /v1/apps/a/keys/5", "api_key_not_found"), "apps keys revoke a 5", ExitNotFound, "taskweir apps keys list APP"},
		{missing("GET /v1/bulk/9", "bulk_not_found"), "bulk get 9", ExitNotFound, "taskweir bulk list"},
		{exchange{want: "GET /v1/tasks?limit=50", status: 403, answer: `{"status":403,"code":"app_disabled"}`}, "tasks list", ExitCredentials, "taskweir apps enable APP"},
		{exchange{want: "GET /v1/tasks?limit=50", status: 403, answer: `{"status":403,"code":"scope_too_small"}`}, "tasks list", ExitCredentials, "larger scope"},
		{exchange{want: "POST /v1/apps/a/test-callback", status: 503, answer: `{"status":503,"code":"no_worker"}`}, "apps test-callback a", ExitUnavailable, "taskweir workers shows"},
		{exchange{want: "POST /v1/tasks", status: 422, answer: `{"status":422,"code":"invalid","errors":[{"field":"kind","rule":"unknown","message":"x"}]}`}, "tasks submit x", ExitRefused, "taskweir kinds declare NAME"},
	} {
		run(t, newFake(t, c.x).url, "", strings.Fields(c.args)...).expect(t, c.code, c.says)
	}
	run(t, newFake(t).url, "", "tasks", "submit", "echo", "--delay=5y").expect(t, ExitUsage, "15m or 48h")
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for code := range whereToLook {
		if !strings.Contains(string(page), "`"+code+"`") {
			t.Errorf("docs/api.md does not know %s", code)
		}
	}
	for _, m := range regexp.MustCompile("`([a-z_]+_not_found)`").FindAllStringSubmatch(string(page), -1) {
		if whereToLook[m[1]] == "" {
			t.Errorf("nothing is said about %s", m[1])
		}
	}
}
