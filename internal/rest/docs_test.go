package rest

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// docRoute is a route as the reference writes it.
var docRoute = regexp.MustCompile("(?m)^\\| `(GET|POST|PUT|PATCH|DELETE) (/v1/[^`]+)` \\| ([a-z]+) \\| ([^|]+) \\|")

// The reference holds a line for every route, with the query parameters that it takes, and no line for others.
func TestEveryRouteIsDocumented(t *testing.T) {
	text := reference(t)
	lines := map[string]string{} // route → its query parameters
	for _, m := range docRoute.FindAllStringSubmatch(text, -1) {
		lines[m[1]+" "+m[2]] = strings.TrimSpace(m[4])
	}
	param := regexp.MustCompile(`:(\w+)`)
	routes := (&api{}).routes()
	if len(routes) == 0 {
		t.Fatal("there are no routes")
	}
	for _, r := range routes {
		name := r.method + " " + param.ReplaceAllString(r.path, "{$1}")
		line, ok := lines[name]
		delete(lines, name)
		if !ok {
			t.Errorf("docs/api.md has no line for %s", name)
			continue
		}
		var said []string
		for _, q := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(line, -1) {
			said = append(said, q[1])
		}
		if takes := slices.Sorted(slices.Values(r.query)); !slices.Equal(slices.Sorted(slices.Values(said)), takes) {
			t.Errorf("docs/api.md: %s takes %v, the line says %v", name, takes, said)
		}
	}
	for name := range lines {
		t.Errorf("docs/api.md has a line for %s, which does not exist", name)
	}
}

func TestEveryFieldOfATaskIsDocumented(t *testing.T) {
	text := reference(t)
	for _, v := range []any{apiv1.Submit{}, apiv1.Task{}, apiv1.Attempt{}, apiv1.FieldError{}, apiv1.Place{}, apiv1.Verdict{}, apiv1.Queue{}, apiv1.Worker{}, apiv1.RunningTask{}, apiv1.Stack{}, apiv1.Goroutine{}, apiv1.Frame{}, apiv1.App{}, apiv1.Key{}} {
		for _, name := range members(v) {
			if !regexp.MustCompile(`\b` + name + `\b`).MatchString(text) {
				t.Errorf("docs/api.md does not name %s of %T", name, v)
			}
		}
	}
	for _, name := range members(apiv1.Retry{}) {
		if !strings.Contains(text, "| `retry."+name+"` |") {
			t.Errorf("docs/api.md has no line for retry.%s", name)
		}
	}
}

func members(v any) (names []string) {
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

func reference(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// The page on schedules has a line for every field of a request, and names every field of an answer.
func TestEveryFieldOfAScheduleIsDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/schedules.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for prefix, v := range map[string]any{"": apiv1.ScheduleInput{}, "spec.": apiv1.ScheduleSpec{}, "misfire.": apiv1.ScheduleMisfire{}} {
		for _, name := range members(v) {
			if name != "misfire" && !strings.Contains(text, "| `"+prefix+name+"` |") {
				t.Errorf("docs/schedules.md has no line for %s%s", prefix, name)
			}
		}
	}
	for _, v := range []any{apiv1.Schedule{}, apiv1.Slot{}, apiv1.Place{}} {
		for _, name := range members(v) {
			if !regexp.MustCompile(`\b` + name + `\b`).MatchString(text) {
				t.Errorf("docs/schedules.md does not name %s of %T", name, v)
			}
		}
	}
}

// The reference names every action of the audit trail, as the source of internal/control does.
func TestEveryAuditActionIsDocumented(t *testing.T) {
	text := reference(t)
	files, err := filepath.Glob("../control/*.go")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"((?:task|queue|limit_key|kind|worker|schedule|app|key|bulk)\.[a-z_]+)"`).FindAllStringSubmatch(string(raw), -1) {
			if n++; !strings.Contains(text, "`"+m[1]+"`") {
				t.Errorf("docs/api.md does not name the action %s (%s)", m[1], path)
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d actions were found", n)
	}
}
