package diskfull

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// ErrNoMount: this process may not mount a tmpfs, so that nothing can be tried.
var ErrNoMount = errors.New("a small disk cannot be mounted (it needs root)")

// disk is a small tmpfs.
type disk struct {
	dir     string
	ballast string
	stop    context.CancelFunc
	filling sync.WaitGroup
	fault   error
}

// mount makes one of so many bytes.
func mount(dir string, size int) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoMount, err)
	}
	return &disk{dir: dir, ballast: filepath.Join(dir, "ballast")}, nil
}

// Possible says why disks cannot be filled on this machine; nil: they can.
func Possible() error {
	dir, err := os.MkdirTemp("", "taskweir-mount-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it is empty
	d, err := mount(filepath.Join(dir, "disk"), 1<<20)
	if err != nil {
		return err
	}
	return d.unmount()
}

// unmount takes it away; what is open on it goes when it is closed.
func (d *disk) unmount() error {
	if err := syscall.Unmount(d.dir, syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", d.dir, err)
	}
	return nil
}

// fill takes every byte, and again whatever is freed, until empty.
func (d *disk) fill() error {
	f, err := os.OpenFile(d.ballast, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := pour(f); err != nil {
		return errors.Join(err, f.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	d.filling.Go(func() {
		for sleep(ctx, 5*time.Millisecond) == nil && d.fault == nil {
			d.fault = pour(f)
		}
		d.fault = errors.Join(d.fault, f.Close())
	})
	return nil
}

// pour writes until there is no room.
func pour(f *os.File) error {
	for size := 64 << 10; size > 0; {
		_, err := f.Write(make([]byte, size))
		switch {
		case errors.Is(err, syscall.ENOSPC):
			size /= 4
		case err != nil:
			return err
		}
	}
	return nil
}

// empty makes room again.
func (d *disk) empty() error {
	d.stop()
	d.filling.Wait()
	return errors.Join(d.fault, os.Remove(d.ballast))
}

// sleep waits; its error is why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
