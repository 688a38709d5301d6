package httpkit_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
)

func TestValidJSON(t *testing.T) {
	for text, want := range map[string]bool{
		`{}`: true, `[]`: true, `null`: true, ` true `: true, `-0.5e+10`: true, `"\u00e9\n"`: true, `{"a":[1,{"b":null}],"c":"d"}`: true,
		``: false, `{`: false, `[1,]`: false, `{"a":1,}`: false, `{,}`: false, `[,1]`: false, `{"a" 1}`: false, `{a:1}`: false, `01`: false, `1.`: false,
		`-`: false, `1e`: false, `+1`: false, `.5`: false, `"\x"`: false, `"\u12g4"`: false, "\"\x01\"": false, `"abc`: false, `nul`: false,
		`true false`: false, `[1 2]`: false, "\"\xff\"": false, `]`: false, `[}`: false, `{"a":1]`: false, "\ufeff{}": false, `NaN`: false,
	} {
		if got := httpkit.ValidJSON([]byte(text)); got != want {
			t.Errorf("ValidJSON(%q) = %v, want %v", text, got, want)
		}
	}
}

func TestDepth(t *testing.T) {
	nested := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	if !httpkit.ValidJSON(nested(httpkit.MaxDepth)) {
		t.Error("nesting up to the limit must be fine")
	}
	for _, n := range []int{httpkit.MaxDepth + 1, 100_000} {
		s := httpkit.NewScanner(nested(n))
		s.Raw()
		var e *task.Error
		if err := s.End(); !errors.As(err, &e) || e.Kind != task.Malformed || e.Code != "too_deep" {
			t.Errorf("%d levels: %v", n, err)
		}
	}
	// Depth counts from the outermost value, also through Object and Array.
	s := httpkit.NewScanner([]byte(`{"a":[` + strings.Repeat(`{"b":`, httpkit.MaxDepth) + `1` + strings.Repeat(`}`, httpkit.MaxDepth) + `]}`))
	s.Object(func([]byte) { s.Array(func(int) { s.Raw() }) })
	if task.CodeOf(s.End()) != "too_deep" {
		t.Errorf("nesting inside a member: %v", s.Err())
	}
}

func TestPathsOfBrokenRules(t *testing.T) {
	s := httpkit.NewScanner([]byte(`{"a":{"list":[1,"x",2.5]},"n":"5","big":1e400,"dup":1,"dup":2,"\u0078":true}`))
	s.Object(func(key []byte) {
		switch string(key) {
		case "a":
			s.Object(func([]byte) { s.Array(func(int) { s.Int() }) })
		case "n":
			s.Int()
		case "big":
			if v, ok := s.Int(); !ok || v <= 1<<62 {
				t.Errorf("a number beyond 64 bits: %d %v", v, ok)
			}
		case "dup":
			s.Int()
		default:
			s.Unknown()
		}
	})
	if err := s.End(); err != nil {
		t.Fatal(err)
	}
	want := []string{"a.list[1] type", "a.list[2] type", "n type", "dup duplicate", "x unknown_field"}
	if len(s.Broken()) != len(want) {
		t.Fatalf("broken: %v", s.Broken())
	}
	for i, f := range s.Broken() {
		if got := f.Field + " " + f.Rule; got != want[i] {
			t.Errorf("broken rule %d is %q, want %q", i, got, want[i])
		}
	}
}

func TestBrokenRulesAreBounded(t *testing.T) {
	s := httpkit.NewScanner([]byte("[" + strings.Repeat(`"x",`, 100_000) + "1]"))
	s.Array(func(int) { s.Int() })
	if err := s.End(); err != nil || len(s.Broken()) != 100 {
		t.Errorf("%d broken rules, %v", len(s.Broken()), err)
	}
}

// FuzzScanner holds the scanner against encoding/json: what one accepts the other must, but for depth and UTF-8.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{`{"a":[1,2,{"b":null}],"c":"\u00e9"}`, `[[[]]]`, `"x"`, `-1.5e3`, `{"a":1,"a":2}`, `[1,]`, `{"`, "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := httpkit.ValidJSON(b)
		want := json.Valid(b) && utf8.Valid(b)
		if got != want && strings.Count(string(b), "[")+strings.Count(string(b), "{") < httpkit.MaxDepth {
			t.Fatalf("ValidJSON(%q) = %v, encoding/json says %v", b, got, want)
		}
		s := httpkit.NewScanner(b)
		walk(s, 0)
		if err := s.End(); err != nil && got {
			t.Fatalf("walking %q: %v", b, err)
		}
	})
}

// walk reads objects member by member and everything else whole.
func walk(s *httpkit.Scanner, depth int) {
	if depth > 50 {
		s.Raw()
		return
	}
	s.Object(func([]byte) { walk(s, depth+1) })
}
