package testkit

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// Disk is what a folder's data lie on.
type Disk struct {
	FileSystem string  `json:"fileSystem"` // "ext4"; empty where it is not known
	FsyncMs    float64 `json:"fsyncMs"`    // median of appending 4 KiB and syncing, in ms
	Free       int64   `json:"-"`          // bytes; -1 where it is not known
}

// ErrMemory is that of a folder in memory: what is synced there is not kept, so that nothing measured there tells of durability.
var ErrMemory = errors.New("lies in memory, where a sync does nothing: set TMPDIR to a folder on a disk")

// Durable is ErrMemory for a file system that lives in memory.
func (d Disk) Durable() error {
	if d.FileSystem == "tmpfs" || d.FileSystem == "ramfs" {
		return ErrMemory
	}
	return nil
}

// String is a few words for people.
func (d Disk) String() string {
	name := d.FileSystem
	if name == "" {
		name = "unknown file system"
	}
	return fmt.Sprintf("%s, a sync takes %.2f ms", name, d.FsyncMs)
}

// fsyncs is how many are measured: a second on a slow disk.
const fsyncs = 200

// DiskOf looks at the file system of a folder, and measures how long a sync takes there.
func DiskOf(dir string) (d Disk, err error) {
	if d.FileSystem, d.Free, err = fileSystem(dir); err != nil {
		return d, fmt.Errorf("file system of %s: %w", dir, err)
	}
	d.FsyncMs, err = fsyncTime(dir)
	return d, err
}

// fsyncTime is the median in ms.
func fsyncTime(dir string) (_ float64, err error) {
	f, err := os.CreateTemp(dir, "sync-*")
	if err != nil {
		return 0, fmt.Errorf("measure a sync: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	page := make([]byte, 4096)
	took := make([]time.Duration, fsyncs)
	for i := range took {
		began := time.Now()
		if _, err := f.Write(page); err != nil {
			return 0, fmt.Errorf("measure a sync: %w", err)
		}
		if err := f.Sync(); err != nil {
			return 0, fmt.Errorf("measure a sync: %w", err)
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return float64(took[fsyncs/2]) / float64(time.Millisecond), nil
}
