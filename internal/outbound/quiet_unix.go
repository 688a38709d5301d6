//go:build unix

package outbound

import (
	"errors"
	"syscall"
)

// plainWorks: whether a kept connection is still good can be seen.
const plainWorks = true

// quiet reports whether nothing came on a connection while it was kept: neither its end nor bytes that nobody asked for.
// A server that closed it would take the request for one of a connection that is gone.
func (l *link) quiet() bool {
	if l.raw == nil {
		return false
	}
	nothing := false
	err := l.raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, err := syscall.Read(int(fd), one[:])
		nothing = errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EWOULDBLOCK)
		return true
	})
	return err == nil && nothing
}
