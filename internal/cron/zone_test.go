package cron

import (
	"archive/zip"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// allZones lists the zones of Go's own database, or else of the system's.
func allZones(t *testing.T) (names []string) {
	t.Helper()
	root, _ := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if r, err := zip.OpenReader(filepath.Join(strings.TrimSpace(string(root)), "lib/time/zoneinfo.zip")); err == nil {
		defer r.Close()
		for _, f := range r.File {
			if isZoneName(f.Name) && !strings.HasSuffix(f.Name, "/") {
				names = append(names, f.Name)
			}
		}
		return names
	}
	const system = "/usr/share/zoneinfo"
	err := fs.WalkDir(os.DirFS(system), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && isZoneName(path) {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Skipf("skipped: no list of zones: neither Go's zoneinfo.zip nor %s: %v", system, err)
	}
	return names
}

func TestEveryZone(t *testing.T) {
	names := allZones(t)
	if len(names) < 400 {
		t.Fatalf("only %d zones", len(names))
	}
	for _, name := range names {
		z, err := loadZone(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		checkZone(t, z, mustLoad(t, name))
	}
}

func checkZone(t *testing.T, z *zone, loc *time.Location) {
	t.Helper()
	check := func(at int64) {
		if _, want := time.Unix(at, 0).In(loc).Zone(); z.offsets[z.segment(at)] != int64(want) {
			t.Errorf("%s at %s: offset %d, want %d", z.name, time.Unix(at, 0).UTC(), z.offsets[z.segment(at)], want)
		}
	}
	for at := int64(0); at < maxSecond-2*secondsADay; at += 61 * secondsADay {
		check(at)
	}
	for i, start := range z.starts[1:] {
		check(start)
		check(start - 1)
		// What is shown twice, or left out, must lie in two neighbouring segments only: Next relies on that.
		if i > 0 {
			longest := max(z.offsets[i-1]-z.offsets[i], z.offsets[i]-z.offsets[i-1], z.offsets[i+1]-z.offsets[i], z.offsets[i]-z.offsets[i+1])
			if start-z.starts[i] <= 2*longest {
				t.Errorf("%s changes twice within %d s at %s", z.name, start-z.starts[i], time.Unix(start, 0).UTC())
			}
		}
	}
}

func TestZonesAreReadOnce(t *testing.T) {
	a, err := loadZone("Europe/Rome")
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := loadZone("Europe/Rome"); a != b {
		t.Error("a zone was read twice")
	}
	if _, err := loadZone("Europe/Nowhere"); err == nil {
		t.Error("there is no such zone")
	}
	if _, ok := loaded.Load("Europe/Nowhere"); ok {
		t.Error("an unknown name was kept")
	}
}
