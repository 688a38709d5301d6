package metrics

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// Operators find a line, with its labels, for every metric that is registered, and no line for others.
func TestEveryMetricIsDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string][]string{} // name → its labels
	for _, m := range regexp.MustCompile("(?m)^\\| `(taskweir_\\w+)(?:\\{([\\w,]*)\\})?` \\| ").FindAllStringSubmatch(string(raw), -1) {
		lines[m[1]] = strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' })
	}
	ours := 0
	for name, labels := range registered(New("test")) {
		if !strings.HasPrefix(name, "taskweir_") {
			continue // of the runtime
		}
		ours++
		said, ok := lines[name]
		delete(lines, name)
		if !ok {
			t.Errorf("docs/operations.md has no line for %s", name)
		} else if !slices.Equal(slices.Sorted(slices.Values(said)), slices.Sorted(slices.Values(labels))) {
			t.Errorf("docs/operations.md: %s has the labels %v, the line says %v", name, labels, said)
		}
	}
	if ours == 0 {
		t.Fatal("no metric was found")
	}
	for name := range lines {
		t.Errorf("docs/operations.md has a line for %s, which does not exist", name)
	}
}

// registered gives the labels of every metric by name.
func registered(s *Set) map[string][]string {
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		s.registry.Describe(descs)
	}()
	text := regexp.MustCompile(`fqName: "(\w+)".* constLabels: \{(.*?)\}, variableLabels: \{(.*?)\}\}`)
	out := map[string][]string{}
	for d := range descs {
		m := text.FindStringSubmatch(d.String())
		if m == nil {
			continue
		}
		out[m[1]] = strings.FieldsFunc(m[3], func(r rune) bool { return r == ',' })
		for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(m[2], -1) {
			out[m[1]] = append(out[m[1]], l[1])
		}
	}
	return out
}
