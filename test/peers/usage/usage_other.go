//go:build !linux

package usage

import (
	"errors"
	"fmt"
)

// Of is what a process and everything below it uses.
func Of(int) (Usage, error) { return Usage{}, fmt.Errorf("read usage: %w", errors.ErrUnsupported) }
