package load

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/test/faults/history"
)

// A standalone that is killed (-9) again and again while it works loses nothing, doubles nothing, and every effect that came twice is
// explained by one of the kills.
func TestKilledStandalone(t *testing.T) {
	s, err := testkit.StartStandalone(t.Context(), testkit.StandaloneOptions{Programs: programs(t), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	l, err := Start(t.Context(), Options{APIs: []string{s.BaseURL}, Key: s.Key, Database: "sqlite://" + s.Data + "/taskweir.db", Rate: 60, Fence: true,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		t.Fatal(err)
	}
	var faults []history.Fault
	processes := []history.Process{{Name: "standalone", Role: "standalone", PID: s.PID()}}
	for n := 1; n <= 4; n++ {
		time.Sleep(3 * time.Second) // the load's own time
		f := history.Fault{N: n, Kind: "SIGKILL standalone", Targets: []string{"standalone"}, Workers: []string{"standalone"}, Injected: l.Now(),
			Parts: []string{history.PartAPI, history.PartDatabase}}
		s.Kill()
		processes[n-1].Ended = l.Now()
		started := l.Now()
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.Ended = l.Now()
		faults = append(faults, f)
		processes = append(processes, history.Process{Name: "standalone", Role: "standalone", PID: s.PID(), Started: started})
	}
	h, err := l.Stop(t.Context(), 90*time.Second)
	if err != nil {
		t.Error(err)
	}
	h.Faults, h.Processes = faults, processes
	r := history.Check(h)
	if t.Log(r.Summary(3)); !r.OK() || r.Lost+r.Double+r.Late > 0 {
		t.Error("violations")
	}
	explained := 0
	for _, d := range r.Duplicates {
		if d.By == history.ByFault {
			explained++
		}
	}
	if explained == 0 {
		t.Error("four kills and no duplicate: the load was not under way")
	}
}
