package cli

import (
	"strings"
	"testing"
)

const tested = `{"ok":true,"kind":"callback","url":"https://shop.test/hook","tries":[{"name":"signed","forged":false,"accepted":true,"status":200,"durationMs":12},
 {"name":"signed with a wrong secret","forged":true,"accepted":false,"status":401,"durationMs":3}],"findings":["The receiver verifies signatures and takes what is signed well."]}`

func TestTestCallback(t *testing.T) {
	careless := `{"ok":true,"kind":"callback","tries":[{"name":"signed","accepted":true,"status":200},{"name":"forged","forged":true,"accepted":true,"status":200}],"findings":["It does not verify."]}`
	silent := `{"ok":false,"kind":"callback","tries":[{"name":"signed","error":"name_not_resolved: no such host"}],"findings":["The name does not resolve."]}`
	f := newFake(t,
		exchange{want: "POST /v1/apps/abc/test-callback", answer: tested},
		exchange{want: "POST /v1/apps/abc/test-callback?kind=goodjob.callback", answer: tested},
		exchange{want: "POST /v1/apps/abc/test-callback", answer: careless},
		exchange{want: "POST /v1/apps/abc/test-callback", answer: silent},
		exchange{want: "POST /v1/apps/abc/test-callback", status: 404, answer: `{"status":404,"code":"app_not_found"}`})
	run(t, f.url, "", "apps", "test-callback", "abc").expect(t, ExitOK, "POST https://shop.test/hook (callback)", "accepted", "401", "12 ms", "- The receiver verifies signatures")
	run(t, f.url, "", "apps", "test-callback", "abc", "--kind=goodjob.callback", "-o", "json").expect(t, ExitOK, tested)
	run(t, f.url, "", "apps", "test-callback", "abc").expect(t, 1, "- It does not verify.")
	run(t, f.url, "", "apps", "test-callback", "abc").expect(t, 1, "name_not_resolved: no such host", "refused")
	run(t, f.url, "", "apps", "test-callback", "abc").expect(t, ExitNotFound)
}

func TestAppsList(t *testing.T) {
	f := newFake(t, exchange{want: "GET /v1/apps?limit=1000", answer: `{"items":[{"id":"abc","name":"shop","weight":3,"callbackUrl":"https://x"}],"nextCursor":null}`})
	run(t, f.url, "", "apps").expect(t, ExitOK, "abc", "shop", "https://x")
}

func TestDelivery(t *testing.T) {
	kept := `{"attempt":{"id":"21","epoch":2,"outcome":"failed"},"delivery":{"method":"POST","url":"https://x/h?a=…","requestHeaders":[["Taskweir-Epoch","2"]],"requestBody":"{\"n\":1}","status":500,"responseBody":"oh","durationMs":7}}`
	f := newFake(t,
		exchange{want: "GET /v1/tasks/7", answer: done},
		exchange{want: "GET /v1/tasks/7/attempts/21", answer: kept},
		exchange{want: "GET /v1/tasks/7/attempts/4", answer: `{"attempt":{"id":"4","epoch":1,"outcome":"succeeded"},"delivery":null}`},
		exchange{want: "GET /v1/tasks/7", answer: queued},
		exchange{want: "POST /v1/tasks/7/resend", answer: queued})
	run(t, f.url, "", "tasks", "delivery", "7").expect(t, ExitOK, "attempt 21, epoch 2: failed", "POST https://x/h?a=…", "Taskweir-Epoch: 2", `{"n":1}`, "500 after 7 ms", "oh")
	run(t, f.url, "", "tasks", "delivery", "7", "4").expect(t, ExitOK, "nothing was kept of its call")
	run(t, f.url, "", "tasks", "delivery", "7").expect(t, ExitOK, "not been attempted")
	run(t, f.url, "", "tasks", "resend", "7").expect(t, ExitOK, "7 queued")
}

// TestAReceiverDoesNotDriveTheTerminal: what a receiver answers, and what is said about it, may hold escape sequences.
func TestAReceiverDoesNotDriveTheTerminal(t *testing.T) {
	f := newFake(t,
		exchange{want: "GET /v1/tasks/7/attempts/4", answer: `{"attempt":{"id":"4","epoch":1,"outcome":"failed"},"delivery":{"method":"POST","url":"https://x/\u001b[2J","status":500,"responseHeaders":[["X-A","\u001b[31mred"]],
 "responseBody":"one\r\n\ttwo \u001b]0;owned\u0007\u009b2J","durationMs":7,"error":"broken \u001b[31m"}}`},
		exchange{want: "POST /v1/apps/abc/test-callback", answer: `{"ok":false,"kind":"callback","url":"https://x","tries":[{"name":"signed","error":"\u001b[31m"}],"findings":["TLS failed: \u001b[31mhello"]}`})
	for _, r := range []result{run(t, f.url, "", "tasks", "delivery", "7", "4"), run(t, f.url, "", "apps", "test-callback", "abc")} {
		if strings.ContainsAny(r.out, "\x1b\x07\u009b") {
			t.Errorf("an escape sequence reached the terminal: %q", r.out)
		}
		if strings.Contains(r.out, "one") && !strings.Contains(r.out, "one\n    two  ]0;owned") {
			t.Errorf("%q", r.out)
		}
	}
}
