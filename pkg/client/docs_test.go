package client_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// flat is code without its indentation.
func flat(code string) string {
	var out []string
	for line := range strings.Lines(code) {
		out = append(out, strings.TrimSpace(line))
	}
	return strings.Join(out, "\n")
}

// Every Go block of the page is part of an example, which is compiled and run.
func TestThePageIsRun(t *testing.T) {
	page, err := os.ReadFile("../../docs/client.md")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	for _, b := range blocks {
		if !strings.Contains(flat(string(examples)), strings.TrimSpace(flat(b[1]))) {
			t.Errorf("this stands in no example:\n%s", b[1])
		}
	}
	if len(blocks) < 10 {
		t.Errorf("only %d blocks", len(blocks))
	}
}

// The page's table has every method.
func TestThePageHasEveryMethod(t *testing.T) {
	page, err := os.ReadFile("../../docs/client.md")
	if err != nil {
		t.Fatal(err)
	}
	c := connect()
	defer c.Close()
	notWork := map[string]bool{"String": true, "GoString": true, "BaseURL": true, "Close": true, "ForApp": true, "Do": true, "Open": true, "OpenEvents": true}
	for _, v := range []any{c, c.Schedules, c.Queues, c.LimitKeys, c.Kinds, c.Workers, c.Apps, c.Bulk} {
		for i := range reflect.TypeOf(v).NumMethod() {
			if name := reflect.TypeOf(v).Method(i).Name; !notWork[name] && !strings.Contains(string(page), "`"+name+"`") {
				t.Errorf("%T.%s is not on the page", v, name)
			}
		}
	}
}
