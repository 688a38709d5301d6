//go:build !linux

package procstat

import (
	"errors"
	"fmt"
	"time"
)

// CPU is the processor time that a process has used, in user and kernel mode, all threads together.
func CPU(int) (time.Duration, error) {
	return 0, fmt.Errorf("read cpu time: %w", errors.ErrUnsupported)
}

// Resident is the memory of a process that is in RAM, in bytes.
func Resident(int) (int64, error) {
	return 0, fmt.Errorf("read resident memory: %w", errors.ErrUnsupported)
}
