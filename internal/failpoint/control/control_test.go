//go:build faults

package control_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/failpoint"
	"github.com/taskweir/taskweir/internal/failpoint/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFailpointsAreControlled(t *testing.T) {
	s, err := control.Serve("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	call := func(method, path, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addr()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		raw, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(raw)
	}
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"PUT", "/faults/db.commit", `{"action":"error","skip":0,"times":1,"delayMs":0,"error":"lost_after","every":0}`, 204},
		{"PUT", "/faults/db.commit", `{"action":"error","error":"no such"}`, 400},
		{"PUT", "/faults/db.commit", `{"action":"delay","delay":1}`, 400},
		{"PUT", "/faults/db.commit", `nonsense`, 400},
		{"PUT", "/faults/nowhere", `{"action":"kill"}`, 404},
		{"DELETE", "/faults/nowhere", "", 404},
		{"POST", "/faults", "", 405},
	} {
		if status, text := call(c.method, c.path, c.body); status != c.want {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, status, text)
		}
	}
	if got := failpoint.Fails(failpoint.DBCommit); got != failpoint.LostAfter {
		t.Errorf("the rule that was put gives %v", got)
	}
	if got := failpoint.Fails(failpoint.DBCommit); got != failpoint.None {
		t.Errorf("acted more than once: %v", got)
	}
	if _, text := call("GET", "/faults", ""); !strings.Contains(text, `"db.commit":{"passed":2,"acted":1}`) || !strings.Contains(text, `"clock":{`) {
		t.Errorf("counts: %s", text)
	}
	if status, _ := call("PUT", "/faults/db.exec", `{"action":"error","error":"deadlock"}`); status != 204 {
		t.Fatal(status)
	}
	if status, _ := call("DELETE", "/faults/db.exec", ""); status != 204 || failpoint.Fails(failpoint.DBExec) != failpoint.None {
		t.Error("a rule that was deleted acts")
	}
}

func TestFailpointsAreForThisMachineOnly(t *testing.T) {
	if s, err := control.Serve(":0"); err == nil {
		s.Close()
		t.Error("served everybody")
	}
}
