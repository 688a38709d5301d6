package cli

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// completions asks as a shell does.
func completions(t *testing.T, url string, words ...string) []string {
	t.Helper()
	r := run(t, url, "", append([]string{"__complete"}, words...)...)
	r.expect(t, ExitOK, ":4\n") // no file names
	var out []string
	for line := range strings.Lines(r.out) {
		if !strings.HasPrefix(line, ":") {
			out = append(out, strings.TrimSuffix(line, "\n"))
		}
	}
	return out
}

func TestNamesAreCompletedFromTheServer(t *testing.T) {
	list := func(want, items string) exchange { return exchange{want: want, answer: `{"items":[` + items + `]}`} }
	queues := `{"name":"mail"},{"name":"main"},{"name":"other"},{"name":"ma\u001b[2J"}`
	for _, c := range []struct {
		ask   exchange
		words string
		want  string
	}{
		{list("GET /v1/queues?limit=1000", queues), "queues pause ma", "mail main"},
		{list("GET /v1/queues?limit=1000", queues), "queues pause mail ma", "main"},
		{list("GET /v1/queues?app=b&limit=1000", queues), "tasks list --app=b --queue o", "other"},
		{list("GET /v1/kinds?limit=1000", `{"name":"echo"},{"name":"http"}`), "tasks submit e", "echo"},
		{list("GET /v1/workers?limit=1000", `{"id":"3","state":"alive","host":"one"},{"id":"14"}`), "workers drain ,", "3\talive on one|14\t on"},
		{list("GET /v1/schedules?limit=1000", `{"name":"nightly","description":"At 02:30"}`), "schedules pause ,", "nightly\tAt 02:30"},
		{list("GET /v1/schedules?limit=1000", `{"name":"nightly"}`), "schedules preview --schedule ,", "nightly"},
		{list("GET /v1/apps?limit=1000", `{"id":"a1","name":"shop"}`), "apps keys list ,", "a1\tshop"},
		{list("GET /v1/apps?limit=1000", `{"id":"a1","name":"shop"}`), "tasks list --app ,", "a1\tshop"},
		{list("GET /v1/limit-keys?limit=1000", `{"key":"customer-7"}`), "limit-keys set ,", "customer-7"},
	} {
		f := newFake(t, c.ask)
		words := strings.Fields(c.words)
		for i, w := range words {
			words[i] = strings.TrimSuffix(w, ",")
		}
		got := strings.Join(completions(t, f.url, words...), "|")
		if want := c.want; got != want && got != strings.ReplaceAll(want, " ", "|") {
			t.Errorf("%s completes to %q, want %q", c.words, got, want)
		}
	}
}

func TestCompletionIsSilentAndQuickWhenTheServerIsNot(t *testing.T) {
	held := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-held:
		case <-r.Context().Done():
		}
	}))
	defer srv.Close()
	defer close(held)
	began := time.Now()
	if got := completions(t, srv.URL, "queues", "pause", ""); len(got) > 0 {
		t.Errorf("%q", got)
	}
	if took := time.Since(began); took > 5*completeWithin {
		t.Errorf("it took %v", took)
	}
	f := newFake(t, exchange{want: "GET /v1/queues?limit=1000", status: 503, answer: `{"status":503}`})
	if r := run(t, f.url, "", "__complete", "queues", "pause", ""); strings.Contains(r.out+r.err, "503") || r.out != ":4\n" {
		t.Errorf("not silent: %q %q", r.out, r.err)
	}
}

func TestContextsAreCompletedWithoutAServer(t *testing.T) {
	_, run := home(t)
	run(testKey, "context", "set", "production", "--url=http://a.test").expect(t, ExitOK)
	run("", "__complete", "context", "use", "").expect(t, ExitOK, "production\n:4")
	run("", "__complete", "queues", "list", "--context", "p").expect(t, ExitOK, "production\n:4")
}

func TestEveryShellHasACompletion(t *testing.T) {
	for shell, says := range map[string]string{"bash": "__start_taskweir", "zsh": "#compdef taskweir", "fish": "complete -c taskweir", "powershell": "Register-ArgumentCompleter"} {
		runWith(t, everything(), "", "completion", shell).expect(t, ExitOK, says, "__complete")
	}
}
