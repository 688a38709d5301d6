package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOnlyTheEndOfTheTimeIsTriedAgain(t *testing.T) {
	for out, want := range map[string]bool{
		"--- FAIL: FuzzX (2.03s)\n    context deadline exceeded\nFAIL\n":                                                true,
		"--- FAIL: FuzzX (0.1s)\n    x_test.go:1: context deadline exceeded\n    Failing input written to testdata/x\n": false,
		"--- FAIL: FuzzX (0.1s)\n    panic: boom\n":                                                                     false,
	} {
		if got := endedByItsTime([]byte(out)); got != want {
			t.Errorf("%q: %v, want %v", out, got, want)
		}
	}
}

func TestTenfold(t *testing.T) {
	for in, want := range map[string]string{"3000x": "30000x", "1s": "10s", "50ms": "500ms", "?": "?"} {
		if got := tenfold(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// planted is a package with fuzz targets whose outcome is known, in a module of its own. The space before func keeps
// listPackages from taking them for targets of this package.
func planted(t *testing.T) pkg {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module github.com/taskweir/taskweir/planted\n\ngo 1.26\n",
		"planted_test.go": `package planted

import "testing"

 func FuzzFine(f *testing.F) {
	f.Add("seed")
	f.Fuzz(func(t *testing.T, s string) {})
}

// Only inputs that the counters lead to, one letter after the other, fail.
 func FuzzDeep(f *testing.F) {
	f.Add("........")
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 0 && s[0] == 'd' {
			if len(s) > 1 && s[1] == 'e' {
				if len(s) > 2 && s[2] == 'p' {
					t.Fatal("found")
				}
			}
		}
	})
}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return pkg{Dir: dir, ImportPath: module + "planted", fuzz: []string{"FuzzFine"}}
}

func TestFuzzerFindsWhatIsPlantedAndFuzzesOnlyWhatExists(t *testing.T) {
	var out strings.Builder
	f, err := newFuzzer(t.Context(), options{fuzz: "500x", timeout: time.Minute, verbose: true}, append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off"), &out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	f.cache = t.TempDir()
	p := planted(t)
	if code := f.fuzz(t.Context(), p); code != 0 || !strings.Contains(out.String(), "FuzzFine") || !strings.Contains(out.String(), "execs: 500") {
		t.Fatalf("code %d: %s", code, out.String())
	}
	p.fuzz = []string{"FuzzNothingOfThisName"}
	if code := f.fuzz(t.Context(), p); code == 0 || !strings.Contains(out.String(), "nothing was fuzzed") {
		t.Fatalf("code %d for a target that does not exist: %s", code, out.String())
	}
	p.fuzz, f.o.fuzz = []string{"FuzzDeep"}, "2000000x"
	if code := f.fuzz(t.Context(), p); code == 0 || !strings.Contains(out.String(), "Failing input written") {
		t.Fatalf("code %d for a target with a finding: %s", code, out.String())
	}
}

func TestSlowTargetsExist(t *testing.T) {
	for name := range slowFuzz {
		path, target, _ := strings.Cut(name, " ")
		all, err := listPackages(t.Context(), []string{module + path})
		if err != nil || len(all) != 1 || !strings.Contains(strings.Join(all[0].fuzz, " ")+" ", target+" ") {
			t.Errorf("%s: %v, %v", name, all, err)
		}
	}
}
