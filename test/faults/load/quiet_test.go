package load

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/test/faults/history"
)

// quietFor is how long these loads run: long enough for every kind of the mix to come a few times.
const quietFor = 15 * time.Second

// Without faults a standalone gives nothing to say: no violation, nothing late, no duplicate but those that were asked for.
func TestQuietStandalone(t *testing.T) {
	s, err := testkit.StartStandalone(t.Context(), testkit.StandaloneOptions{Programs: programs(t), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	began := time.Now()
	r := quiet(t, Options{APIs: []string{s.BaseURL}, Key: s.Key, Database: "sqlite://" + s.Data + "/taskweir.db", Began: began, Rate: 60,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}, history.Process{Name: "standalone", Role: "standalone", PID: s.PID()})
	t.Log(r.Summary(5))
}

// quiet runs a load for a while, checks its history and wants nothing to be wrong with it.
func quiet(t *testing.T, o Options, processes ...history.Process) *history.Report {
	t.Helper()
	l, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(quietFor) // the load's own time
	h, err := l.Stop(t.Context(), time.Minute)
	if err != nil {
		t.Error(err)
	}
	h.Processes = processes
	r := history.Check(h)
	if !r.OK() {
		t.Errorf("a run without faults: %s", r.Summary(3))
	}
	for _, d := range r.Duplicates {
		if d.By != history.ByPolicy && d.By != history.ByRetry {
			t.Errorf("without a fault: %+v", d)
		}
	}
	if r.Late+r.Lost+r.Double+r.Found > 0 || r.Tasks < 100 {
		t.Errorf("a run without faults: %+v", r)
	}
	return r
}

// Without faults a cluster of two APIs, two schedulers and four workers gives nothing to say either, with a sink that fences.
func TestQuietCluster(t *testing.T) {
	c, err := testkit.StartCluster(t.Context(), testkit.ClusterOptions{Servers: testkit.ServersOptions{NSQDs: 2}, Programs: programs(t), Schedulers: 2, Workers: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	var processes []history.Process
	for _, p := range c.Processes() {
		processes = append(processes, history.Process{Name: p.Name(), PID: p.PID()})
	}
	r := quiet(t, Options{APIs: []string{c.BaseURL}, Key: c.Keys.Bootstrap, Database: c.MariaDB.URL("taskweir"), Fence: true,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}, processes...)
	t.Log(r.Summary(5))
}
