package openapi_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/openapi"
)

// Every example of the page is run by a shell as it stands there, on one standalone, after the lines that the page begins with. Each is taken, but those that
// need something which a fresh installation has not.
func TestTheExamplesOfThePageWork(t *testing.T) {
	for _, program := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("the examples are for %s: %v", program, err)
		}
	}
	c := readContract(t, openapi.JSON())
	w, _ := standalone(t, c)
	refused := map[string]string{ // what the fresh installation lacks
		"abandonTask":  "409", // no zombie
		"completeTask": "409", // nobody took the task over
		"ready":        "200",
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".taskweir"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".taskweir", "bootstrap.key"), []byte(w.key), 0o600); err != nil {
		t.Fatal(err)
	}
	ops := openapi.Operations()
	// Last what takes the things of the others away.
	slices.SortStableFunc(ops, func(a, b openapi.Operation) int { return last(a) - last(b) })
	script := strings.Replace(openapi.Setup, "URL=http://127.0.0.1:8080", "URL="+w.url, 1) + "\nset -u\n"
	for _, o := range ops {
		line := o.Line()
		at := strings.LastIndex(line, "curl -s ")
		most := "20"
		if o.ID == "followTask" || o.ID == "listenEvents" { // whoever reads them ends them
			most = "1"
		}
		script += line[:at] + "curl -s -m " + most + " -o /dev/null -w '" + o.ID + " %{http_code}\\n' " + line[at+len("curl -s "):] + "\n"
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	seen := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^(\w+) (\d+)$`).FindAllStringSubmatch(string(out), -1) {
		seen[m[1]] = m[2]
	}
	for _, o := range ops {
		got := seen[o.ID]
		if want, ok := refused[o.ID]; ok && got != want || !ok && !strings.HasPrefix(got, "2") {
			t.Errorf("%s: %s\n%s", o.ID, got, o.Line())
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

// last orders what deletes, drains and revokes behind the rest.
func last(o openapi.Operation) int {
	switch {
	case o.ID == "drainWorker":
		return 2
	case o.Method == "DELETE":
		return 1
	}
	return 0
}

// The reference has a line for every code of problems, with its status.
func TestEveryCodeIsInTheReference(t *testing.T) {
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for code, c := range openapi.Codes {
		if !regexp.MustCompile(fmt.Sprintf("(?m)^\\| %d \\| [^|]*`%s`", c.Status, code)).Match(page) {
			t.Errorf("docs/api.md has no line for %d %s", c.Status, code)
		}
	}
}
