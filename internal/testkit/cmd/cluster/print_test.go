package main

import (
	"strings"
	"testing"
)

func TestLinesArePrefixedWhole(t *testing.T) {
	var out strings.Builder
	w := newPrinter(&out).process("api")
	for _, part := range []string{"one\ntw", "o\n", "", strings.Repeat("x", maxLine+1), "end\n"} {
		if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	want := "api        | one\napi        | two\napi        | " + strings.Repeat("x", maxLine+1) + "\napi        | end\n"
	if out.String() != want {
		t.Fatalf("%.200q", out.String())
	}
}
