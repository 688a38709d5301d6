package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// commandOf says which command lines use a route. Together they use every query parameter that the reference names.
var commandOf = map[string][]string{
	"POST /v1/tasks":                        {"tasks submit echo --app=a"},
	"POST /v1/tasks/batch":                  {"tasks submit-batch BATCH --app=a"},
	"GET /v1/tasks":                         {"tasks list --app=a --state=failed --queue=q --kind=echo --label=a=b --unique-key=u --from=2030-01-01T00:00:00Z --to=2031-01-01T00:00:00Z --limit=5 --cursor=c", "tasks watch 7 --app=a"},
	"GET /v1/tasks/{id}":                    {"tasks get 7 --app=a --wait=1s", "tasks wait 7"},
	"POST /v1/tasks/{id}/cancel":            {"tasks cancel 7 --app=a --wait=1s"},
	"POST /v1/tasks/{id}/retry":             {"tasks retry 7 --app=a --force"},
	"POST /v1/tasks/{id}/run-now":           {"tasks run-now 7 --app=a"},
	"POST /v1/tasks/{id}/abandon":           {"tasks abandon 7 --app=a"},
	"GET /v1/tasks/{id}/stack":              {"tasks stack 7 --app=a"},
	"GET /v1/tasks/{id}/log":                {"tasks log 7 --app=a --attempt=21 --from=5 -f", "tasks log 7"},
	"GET /v1/tasks/{id}/events":             {"tasks events 7 --app=a"},
	"POST /v1/tasks/{id}/complete":          {"tasks complete 7 --app=a --epoch=1 --outcome=succeeded"},
	"POST /v1/tasks/{id}/resend":            {"tasks resend 7 --app=a"},
	"GET /v1/tasks/{id}/attempts/{attempt}": {"tasks delivery 7 21 --app=a"},
	"POST /v1/schedules":                    {"schedules create n --every=1m --kind=echo --app=a"},
	"GET /v1/schedules":                     {"schedules list --app=a --paused=true --name=n --limit=5 --cursor=c"},
	"POST /v1/schedules/preview":            {"schedules preview @daily"},
	"GET /v1/schedules/{id}":                {"schedules get 7 --app=a"},
	"PUT /v1/schedules/{id}":                {"schedules edit 7 --app=a --zone=UTC"},
	"DELETE /v1/schedules/{id}":             {"schedules delete 7 --app=a"},
	"POST /v1/schedules/{id}/pause":         {"schedules pause 7 --app=a"},
	"POST /v1/schedules/{id}/resume":        {"schedules resume 7 --app=a"},
	"POST /v1/schedules/{id}/trigger":       {"schedules trigger 7 --app=a"},
	"POST /v1/schedules/{id}/skip-next":     {"schedules skip-next 7 --app=a"},
	"POST /v1/schedules/{id}/backfill":      {"schedules backfill 7 --app=a --from=2026-01-01T00:00:00Z --to=2026-01-02T00:00:00Z"},
	"GET /v1/schedules/{id}/slots":          {"schedules slots 7 --app=a --from=2026-01-01T00:00:00Z --to=2026-01-02T00:00:00Z --outcome=fired --limit=5 --cursor=c"},
	"GET /v1/schedules/{id}/preview":        {"schedules preview --schedule=7 --app=a --count=3 --from=2026-01-01T00:00:00Z"},
	"GET /v1/kinds":                         {"kinds list --limit=5 --cursor=c"},
	"GET /v1/kinds/{name}":                  {"kinds get mail"},
	"PUT /v1/kinds/{name}":                  {"kinds declare mail"},
	"GET /v1/queues":                        {"queues list --app=a --limit=5 --cursor=c"},
	"GET /v1/queues/{name}":                 {"queues get q --app=a"},
	"PUT /v1/queues/{name}":                 {"queues set q --app=a --rate=5/s"},
	"POST /v1/queues/{name}/pause":          {"queues pause q --app=a"},
	"POST /v1/queues/{name}/resume":         {"queues resume q --app=a"},
	"GET /v1/limit-keys":                    {"limit-keys list --app=a --limit=5 --cursor=c"},
	"GET /v1/limit-keys/{key}":              {"limit-keys get k --app=a"},
	"PUT /v1/limit-keys/{key}":              {"limit-keys set k --app=a --concurrency=5"},
	"DELETE /v1/limit-keys/{key}":           {"limit-keys delete k --app=a"},
	"POST /v1/limit-keys/{key}/pause":       {"limit-keys pause k --app=a"},
	"POST /v1/limit-keys/{key}/resume":      {"limit-keys resume k --app=a"},
	"GET /v1/workers":                       {"workers list --all --limit=5 --cursor=c"},
	"GET /v1/workers/{id}":                  {"workers get 3"},
	"POST /v1/workers/{id}/drain":           {"workers drain 3"},
	"GET /v1/apps":                          {"apps list --limit=5 --cursor=c"},
	"POST /v1/apps":                         {"apps create shop"},
	"GET /v1/apps/{app}":                    {"apps get a"},
	"PATCH /v1/apps/{app}":                  {"apps update a --weight=3", "apps pause a", "apps disable a"},
	"POST /v1/apps/{app}/secret":            {"apps rotate-secret a --overlap=1h"},
	"POST /v1/apps/{app}/test-callback":     {"apps test-callback a --kind=callback"},
	"GET /v1/apps/{app}/keys":               {"apps keys list a --limit=5 --cursor=c"},
	"POST /v1/apps/{app}/keys":              {"apps keys create a --scope=read"},
	"DELETE /v1/apps/{app}/keys/{key}":      {"apps keys revoke a 5"},
	"GET /v1/stats":                         {"stats --app=a --from=2026-01-01T00:00:00Z --to=2026-01-02T00:00:00Z --step=1h --by=queue"},
	"POST /v1/bulk":                         {"bulk retry --app=a --state=failed --yes"},
	"GET /v1/bulk":                          {"bulk list --app=a --limit=5 --cursor=c"},
	"GET /v1/bulk/{id}":                     {"bulk get 7 --app=a", "bulk watch 7"},
	"POST /v1/bulk/{id}/stop":               {"bulk stop 7 --app=a"},
	"GET /v1/audit":                         {"audit --app=a --from=2026-01-01T00:00:00Z --to=2026-01-02T00:00:00Z --action=app.update --target=t --key=5 --limit=5 --cursor=c"},
	"GET /v1/events":                        {"events --app=a --queue=q --kind=k --type=failed,retrying --count=1"},
	"POST /v1/events/tickets":               {"events ticket --app=a --task=7", "events ticket"},
}

// withoutCommand are routes, and parameters as "route parameter", that the command line does not use, each for a reason.
var withoutCommand = map[string]string{
	"GET /v1/tasks ids":                     "tasks watch uses it; tasks get asks one by one, which shows verdicts",
	"POST /v1/tasks/{id}/retry force":       "the command says it in the body",
	"GET /v1/tasks/{id}/log ticket":         "is for browsers, which cannot send a key",
	"GET /v1/events lastEventId":            "is sent as the header Last-Event-ID",
	"GET /v1/tasks/{id}/events lastEventId": "is sent as the header Last-Event-ID",
	"GET /v1/events ticket":                 "is for browsers, which cannot send a key",
	"GET /v1/tasks/{id}/events ticket":      "is for browsers, which cannot send a key",
}

// recorder answers everything and keeps what was asked.
type recorder struct {
	mu    sync.Mutex
	asked []string                   // "METHOD /path"
	query map[string]map[string]bool // by that
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	name := req.Method + " " + req.URL.EscapedPath()
	r.asked = append(r.asked, name)
	if r.query[name] == nil {
		r.query[name] = map[string]bool{}
	}
	for k := range req.URL.Query() {
		r.query[name][k] = true
	}
	r.mu.Unlock()
	const task = `{"id":"7","name":"x","app":"a","state":"succeeded","task":{"kind":"echo"},"attempts":[{"id":"21"}],"tries":[],"ok":true}`
	switch {
	case strings.HasSuffix(req.URL.Path, "/events"):
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, ": hello\n\nid: 1.1\nevent: succeeded\ndata: {\"type\":\"succeeded\",\"task\":\"7\",\"state\":\"succeeded\"}\n\n")
	case strings.HasSuffix(req.URL.Path, "/log"):
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Taskweir-Attempt", "21")
	case req.URL.Path == "/v1/tasks/batch":
		_, _ = io.WriteString(w, `{"items":[{"task":`+task+`}]}`)
	case req.URL.Query().Has("ids"):
		_, _ = io.WriteString(w, `{"items":[`+task+`]}`)
	case req.Method == "GET" && strings.Count(req.URL.Path, "/") == 2, strings.HasSuffix(req.URL.Path, "/keys"), strings.HasSuffix(req.URL.Path, "/slots"):
		if req.Method == "GET" {
			_, _ = io.WriteString(w, `{"items":[],"nextCursor":null}`)
			return
		}
		_, _ = io.WriteString(w, task)
	default:
		_, _ = io.WriteString(w, task)
	}
}

// Every route of the reference has a command, which uses every parameter of the route; what has none has a reason.
func TestEveryRouteHasACommand(t *testing.T) {
	raw, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile("(?m)^\\| `((?:GET|POST|PUT|PATCH|DELETE) /v1/[^`]+)` \\| [a-z]+ \\| ([^|]+) \\|").FindAllStringSubmatch(string(raw), -1)
	if len(lines) < 40 {
		t.Fatalf("only %d routes were found", len(lines))
	}
	for _, line := range lines {
		route, params := line[1], regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(line[2], -1)
		if withoutCommand[route] != "" {
			continue
		}
		if len(commandOf[route]) == 0 {
			t.Errorf("%s has no command: make one, or say in withoutCommand why there is none", route)
			continue
		}
		used := usedBy(t, route, commandOf[route])
		for _, p := range params {
			if !used[p[1]] && withoutCommand[route+" "+p[1]] == "" {
				t.Errorf("%s: no command uses %s", route, p[1])
			}
		}
	}
}

// usedBy runs command lines and gives the query parameters with which they asked a route.
func usedBy(t *testing.T, route string, commands []string) map[string]bool {
	t.Helper()
	used := map[string]bool{}
	path := regexp.MustCompile("^" + regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllString(regexp.QuoteMeta(route), "[^/]+") + "$")
	batch := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(batch, []byte(`{"kind":"echo"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, line := range commands {
		rec := &recorder{query: map[string]map[string]bool{}}
		srv := httptest.NewServer(rec)
		r := run(t, srv.URL, "", strings.Fields(strings.ReplaceAll(line, "BATCH", batch))...)
		srv.Close()
		if r.code != ExitOK {
			t.Errorf("%s: exit code %d\n%s%s", line, r.code, r.out, r.err)
		}
		i := slices.IndexFunc(rec.asked, path.MatchString)
		if i < 0 {
			t.Errorf("%s asks %q, not %s", line, rec.asked, route)
			continue
		}
		for k := range rec.query[rec.asked[i]] {
			used[k] = true
		}
	}
	return used
}

// The commands that are here for routes to come work too.
func TestEveryCommandOfTheTableAsksItsRoute(t *testing.T) {
	for route, lines := range commandOf {
		usedBy(t, route, lines)
	}
}

// Every field of a request has a flag.
func TestEveryFieldOfASubmitHasAFlag(t *testing.T) {
	var body string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		body += string(raw)
		_, _ = fmt.Fprint(w, queued)
	}))
	defer srv.Close()
	common := "--queue=q --payload=1 --priority=high --timeout=1s --expires-at=2030-01-01T00:00:00Z --retry-policy=list --retry-base=1s --retry-cap=2s --retry-jitter=0.5 --retry-max=2 --retry-delays=1s,2m " +
		"--unique-key=u --unique-scope=window --unique-window=1m --unique-on-conflict=keep --limit-key=k --label=a=b --completion-url=http://x"
	for _, due := range []string{"--run-at=2030-01-01T00:00:00Z", "--delay=5s"} {
		run(t, srv.URL, "", strings.Fields("tasks submit echo "+due+" "+common)...).expect(t, ExitOK)
	}
	for _, of := range []reflect.Type{reflect.TypeFor[apiv1.Submit](), reflect.TypeFor[apiv1.Retry]()} {
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if !strings.Contains(body, `"`+name+`":`) {
				t.Errorf("no flag sets %s: %s", name, body)
			}
		}
	}
	if !strings.Contains(body, `"delaysMs":[1000,120000]`) {
		t.Errorf("%s", body)
	}
}
