package testkit

import (
	"errors"
	"testing"
)

func TestADiskIsLookedAtAndMemoryIsNone(t *testing.T) {
	d, err := DiskOf(t.TempDir())
	if err != nil || d.FsyncMs <= 0 {
		t.Errorf("%+v, %v", d, err)
	}
	for name, want := range map[string]error{"ext4": nil, "": nil, "tmpfs": ErrMemory, "ramfs": ErrMemory} {
		if err := (Disk{FileSystem: name}).Durable(); !errors.Is(err, want) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if d, err := DiskOf("/dev/shm"); err == nil && d.FileSystem == "tmpfs" && d.Durable() == nil {
		t.Errorf("%+v counts as a disk", d)
	}
}
