package testkit

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// marked is a sentence of a document that a test proves.
var marked = regexp.MustCompile(`(?s)<!-- says ([a-z0-9-]+) -->\*(.*?)\*<!-- end -->`)

// Sentences gives the marked sentences of a document by their ids, each on one line.
func Sentences(path string) (map[string]string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, m := range marked.FindAllStringSubmatch(string(raw), -1) {
		if _, twice := out[m[1]]; twice {
			return nil, fmt.Errorf("%s: two sentences are called %s", path, m[1])
		}
		out[m[1]] = strings.Join(strings.Fields(m[2]), " ")
	}
	if n := strings.Count(string(raw), "<!-- says "); n != len(out) {
		return nil, fmt.Errorf("%s: %d sentences begin, %d are whole", path, n, len(out))
	}
	return out, nil
}

// Says fails a test unless docs/schedules.md holds the sentence that it proves, marked as one of those.
func Says(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, sentence string) {
	t.Helper()
	root, err := Root()
	if err != nil {
		t.Fatalf("%v", err)
	}
	all, err := Sentences(filepath.Join(root, "docs", "schedules.md"))
	if err != nil {
		t.Fatalf("%v", err)
	}
	for _, s := range all {
		if s == sentence {
			return
		}
	}
	t.Fatalf("docs/schedules.md does not say: %s", sentence)
}
