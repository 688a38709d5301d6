//go:build !linux

package usage

import (
	"errors"
	"fmt"
	"time"
)

// CPU is the processor time of a process and everything below it.
func CPU(int) (time.Duration, error) { return 0, fmt.Errorf("read usage: %w", errors.ErrUnsupported) }

// Memory is what a process and everything below it has in RAM, in bytes.
func Memory(int) (int64, error) { return 0, fmt.Errorf("read usage: %w", errors.ErrUnsupported) }
