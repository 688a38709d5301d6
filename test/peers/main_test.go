package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/test/peers/measure"
	"github.com/taskweir/taskweir/test/peers/report"
)

// TestMain lets this test program be the process of a round, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == childFlag {
		if err := child(context.Background(), os.Stdin, os.Stdout, os.Stderr); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// tiny are sizes that show whether everything works, and nothing else.
func tiny() measure.Options {
	o := measure.Quick()
	o.Drain, o.Callbacks, o.Instant, o.Delayed = 500, 50, 50, 500
	o.Submit, o.Steady, o.Latency, o.Yard, o.Late = 30*time.Millisecond, 100*time.Millisecond, 200*time.Millisecond, 50*time.Millisecond, 2*time.Second
	return o
}

// Every system whose servers are installed goes through a tiny round of everything, each in a process of its own. Ours lose,
// double and hurry nothing.
func TestARoundOfEverySystem(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: -short, and this starts every server and takes two minutes")
	}
	var names []string
	for _, a := range adapters() {
		if a.Missing != nil {
			if missing := a.Missing(t.Context()); len(missing) > 0 {
				if os.Getenv("CI") != "" {
					t.Fatalf("%s: %s", a.Name, missing[0])
				}
				t.Logf("left out: %s: %s", a.Name, missing[0])
				continue
			}
		}
		names = append(names, a.Name)
	}
	sizes := tiny()
	var errs bytes.Buffer
	rep, err := run(t.Context(), options{rounds: 1, systems: strings.Join(names, ","), with: &sizes}, &errs)
	if err != nil {
		t.Fatalf("%v\n%s", err, errs.Bytes())
	}
	for _, s := range rep.Systems { // on a busy machine a tiny round may give up on late tasks, and that breaks no promise
		for i, f := range s.Fates {
			if f.Late > 0 {
				t.Logf("%s, %s: %d late", s.Name, f.Measure, f.Late)
				s.Fates[i].Late = 0
			}
		}
	}
	if err := rep.Broken(); err != nil {
		t.Errorf("%v\n%s", err, errs.Bytes())
	}
	for _, s := range rep.Systems {
		if f := s.Figure(measure.Pickup + ", p99"); f == nil || len(f.Values) != 1 {
			t.Errorf("%s: pickup %+v", s.Name, f)
		}
		if f := s.Figure(measure.Drain); s.Tuned == "" && (f == nil || f.Median <= 0) {
			t.Errorf("%s: drain %+v", s.Name, f)
		}
	}
	var text bytes.Buffer
	if err := rep.Markdown(&text); err != nil || !strings.Contains(text.String(), "Not the sizes of a full run") {
		t.Errorf("%v\n%s", err, text.Bytes())
	}
}

func TestARoundThatFailsIsToldWithWhatWasSaid(t *testing.T) {
	var errs bytes.Buffer
	a, err := adapterNamed("taskweir")
	if err != nil {
		t.Fatal(err)
	}
	// Nobody listens there.
	spec := measure.Spec{Options: tiny(), Addrs: map[string]string{"mariadb": "127.0.0.1:1", "redis": "127.0.0.1:1", "nsqd": "127.0.0.1:1", "nsqd-http": "127.0.0.1:1"}}
	if _, err := start(t.Context(), a, spec, t.TempDir(), &errs); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
}

func TestUsage(t *testing.T) {
	for _, bad := range [][]string{{"-rounds", "26"}, {"-o", "xml"}, {"-quick", "-write"}, {"-systems", "taskweir", "-write"}, {"-rounds", "1", "-write"},
		{"-no-memory", "-write"}, {"-delayed", "1000", "-write"}, {"-only", "drain", "-write"}, {"-only", "drian"}, {"word"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if o, err := parse(nil); err != nil || o.rounds != 3 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, good := range [][]string{{"-write"}, {"-rounds", "2", "-write"}, {"-from", "x.json", "-write"}} {
		if _, err := parse(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	if _, err := chosen("taskweir,nobody"); err == nil || !strings.Contains(err.Error(), "asynq-aof") {
		t.Errorf("got %v: it should name those there are", err)
	}
}

func TestARunInWhichSomethingFailedIsNotPublished(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	root := t.TempDir()
	rep := report.New(3, measure.Full())
	if err := write(rep, root, errRound); !errors.Is(err, errNotWritten) {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(root); err != nil || len(left) != 0 {
		t.Errorf("%v were written (%v)", left, err)
	}
	kept, err := filepath.Glob(filepath.Join(os.TempDir(), "peers-not-written-*.json"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("%q are kept (%v)", kept, err)
	}
	if _, err := report.Read(kept[0]); err != nil {
		t.Errorf("what is kept cannot be read: %v", err)
	}
}

func TestProgressGoesThroughAndChatterIsKeptForFailures(t *testing.T) {
	var out bytes.Buffer
	c := &chatter{mark: "  x: ", out: &out}
	for _, part := range []string{"libr", "ary says\n  x: dra", "in\n", "more\n"} {
		if _, err := c.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if out.String() != "  x: drain\n" || string(c.tail) != "library says\nmore\n" {
		t.Errorf("out %q, kept %q", out.String(), c.tail)
	}
}
