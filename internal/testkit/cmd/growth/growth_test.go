package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

// TestReportJudges: the goal is judged by the largest database without a purge, by medians, and only for throughput.
func TestReportJudges(t *testing.T) {
	r := &report{}
	for column, factor := range map[string]float64{"none": 1, "10 million": 0.8, "10 million, purge running": 0.5} {
		for _, value := range []float64{900, 1000, 5000} {
			r.figure("speed", "drain", "tasks/s").add(column, value*factor)
			r.figure("speed", "pickup at 200/s, p99", "ms").add(column, value/1000)
		}
		r.figure("lists", "kind", "ms").add(column, 2, 4, 3)
	}
	r.columns = []string{"none", "10 million", "10 million, purge running"}
	r.finish(90 * time.Second)
	text := string(r.markdown())
	for _, line := range []string{
		"| drain, tasks/s | 1,000 | 800 (0.80) | 500 (0.50) | ≥ 0.9 with 10 million: no |",
		"| pickup at 200/s, p99, ms | 1.00 | 1.00 (1.00) | 1.00 (1.00) |  |",
		`| kind, ms | 3.00 \| 4.00 | 3.00 \| 4.00 | 3.00 \| 4.00 |`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
	raw, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(raw), `"ratio":{"10 million":0.8`) {
		t.Errorf("%v: %s", err, raw)
	}
}

// TestRoom: too small a disk and memory are refused before anything is filled.
func TestRoom(t *testing.T) {
	o := options{large: 10_000_000, middle: 1_000_000, waiting: 1_000_000, due: 1_000_000, write: true}
	if n := o.filled(); n*7 < o.large*9-63 || n*7 > o.large*9 {
		t.Errorf("%d rows are filled", n)
	}
	for _, one := range []struct {
		disk testkit.Disk
		want error
	}{
		{testkit.Disk{FileSystem: "ext4", Free: 30e9}, nil}, {testkit.Disk{FileSystem: "ext4", Free: -1}, nil},
		{testkit.Disk{FileSystem: "ext4", Free: 14e9}, errSmall}, {testkit.Disk{FileSystem: "tmpfs", Free: 30e9}, testkit.ErrMemory},
	} {
		if err := o.fits(one.disk); !errors.Is(err, one.want) {
			t.Errorf("%+v: %v", one.disk, err)
		}
	}
}

// TestWhatIsNotPublishedIsKept: a run that failed leaves what it measured in a temporary file.
func TestWhatIsNotPublishedIsKept(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	r := &report{}
	r.figure("speed", "drain", "tasks/s").add("none", 1234)
	r.note("Round %d: nothing left.", 2)
	r.finish(time.Minute)
	if err := r.keep(); err == nil {
		t.Error("it is no error that nothing was published")
	}
	files, err := filepath.Glob(filepath.Join(os.TempDir(), "growth-not-written-*.md"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	if text, err := os.ReadFile(files[0]); err != nil || !strings.Contains(string(text), "1,234") || !strings.Contains(string(text), "Round 2: nothing left.") {
		t.Errorf("%v: %s", err, text)
	}
}

// TestMiddleMovesOnlyListsByID: a cursor in due order stays what it is.
func TestMiddleMovesOnlyListsByID(t *testing.T) {
	l := &lister{d: &database{first: 100, finished: 1000}}
	cursor := func(mode byte, id int64) string {
		return base64.RawURLEncoding.EncodeToString(binary.AppendVarint([]byte{1, mode}, id))
	}
	if got := l.middle(cursor('i', 1099)); got != cursor('i', 600) {
		t.Errorf("moved to %q", got)
	}
	for _, other := range []string{cursor('d', 1099), "", "!"} {
		if got := l.middle(other); got != "" {
			t.Errorf("%q was moved to %q", other, got)
		}
	}
}

// TestSharesAreWhole: what is picked by thousandths is picked for each thousandth, the last id for the rest.
func TestSharesAreWhole(t *testing.T) {
	if got := of("x", []int64{7, 8, 9}, 700, 900); got != "CASE WHEN x<700 THEN 7 WHEN x<900 THEN 8 ELSE 9 END" {
		t.Error(got)
	}
	for n, want := range map[int]string{1_000_000: "1 million", 2_500_000: "2.5 million", 50_000: "50,000", 10_000_000: "10 million"} {
		if got := count(n); got != want {
			t.Errorf("%d is called %q", n, got)
		}
	}
}

// TestOnlyKnownParts: a misspelt part is refused, not left out.
func TestOnlyKnownParts(t *testing.T) {
	o := options{large: 1, due: 1, rounds: 1, pages: 1, only: "lists,sped"}
	if err := o.check(); err == nil || !strings.Contains(err.Error(), "sped") {
		t.Error(err)
	}
	for _, part := range []options{{only: "lists", rounds: 3}, {quick: true, rounds: 3}, {rounds: 1}} {
		part.large, part.due, part.pages, part.write = 1, 1, 1, true
		if err := part.check(); err == nil || !strings.Contains(err.Error(), "whole run") {
			t.Errorf("%+v is written: %v", part, err)
		}
	}
	o.only = "lists,speed"
	if err := o.check(); err != nil || !o.takes("speed") || o.takes("memory") {
		t.Error(err)
	}
}
