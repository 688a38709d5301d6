package procstat

import (
	"errors"
	"os"
	"testing"
	"time"
)

func TestCPUGrowsWithWork(t *testing.T) {
	before, err := CPU(os.Getpid())
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("skipped: known on Linux only")
	}
	if err != nil {
		t.Fatal(err)
	}
	x, after := 1, before
	for start := time.Now(); after-before < 50*time.Millisecond; after, err = CPU(os.Getpid()) {
		if err != nil {
			t.Fatal(err)
		}
		if time.Since(start) > 10*time.Second {
			t.Fatalf("%v of processor time after 10 s of work (%d)", after-before, x)
		}
		for range 1_000_000 {
			x = x*31 + 7
		}
	}
}

func TestResidentGrowsWithMemoryInUse(t *testing.T) {
	before, err := Resident(os.Getpid())
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("skipped: known on Linux only")
	}
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 64<<20)
	for i := 0; i < len(block); i += 4096 {
		block[i] = 1
	}
	after, err := Resident(os.Getpid())
	if err != nil || after-before < 48<<20 {
		t.Fatalf("%d more bytes after touching 64 MiB (%v, %d)", after-before, err, block[0])
	}
}

func TestUnknownProcess(t *testing.T) {
	if _, err := CPU(1 << 30); err == nil {
		t.Error("cpu time of nobody")
	}
	if _, err := Resident(1 << 30); err == nil {
		t.Error("memory of nobody")
	}
}
