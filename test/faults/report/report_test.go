package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLinesOfOneNameAreSummedUp(t *testing.T) {
	lines := []Line{
		{Name: "SIGKILL worker", Group: "SIGKILL", Times: 2, InFlight: 10, Duplicates: 3, Recovered: []time.Duration{2 * time.Second}},
		{Name: "SIGKILL api", Group: "SIGKILL", Times: 1000, InFlight: 5, Lost: 1, Double: 2, Late: 4},
		{Name: "SIGKILL worker", Group: "SIGKILL", Times: 1, Recovered: []time.Duration{9 * time.Second, time.Second}},
	}
	byName := Merge(lines, ByName)
	if len(byName) != 2 || byName[0].Times != 3 || byName[0].InFlight != 10 || len(byName[0].Recovered) != 3 || byName[1].Group != "SIGKILL" {
		t.Errorf("%+v", byName)
	}
	got := Table(Merge(lines, ByGroup), 7, 8)
	for _, want := range []string{"| SIGKILL | 1,003 | 15 | 1 | 2 | 3 | 4 | 2.0 / 9.0 s |\n", "| **all** | 1,003 | 15 | 7 | 8 | 3 | 4 | 2.0 / 9.0 s |\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no line %q in\n%s", want, got)
		}
	}
	if table := Table(byName, 0, 0); !strings.Contains(table, "| SIGKILL api | 1,000 | 5 | 1 | 2 | 0 | 4 | – |\n") {
		t.Error(table)
	}
	if lines[0].Times != 2 || len(lines[0].Recovered) != 1 {
		t.Error("Merge changed what it was given")
	}
}

func TestTableReplacesWhatStoodBetweenItsMarkers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README.md")
	begin, end := markers("faults")
	if err := os.WriteFile(path, []byte("before\n"+begin+"old\n"+end+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"new\n", "newer\n"} {
		if err := Insert(path, "faults", text); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if want := "before\n" + begin + text + end + "after\n"; err != nil || string(got) != want {
			t.Fatalf("%v\n%s", err, got)
		}
	}
	if err := Insert(path, "another", "x"); err == nil {
		t.Error("there is no place for another table")
	}
	if err := Insert(filepath.Join(t.TempDir(), "nowhere"), "faults", "x"); err == nil {
		t.Error("there is no such file")
	}
}
