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
	if l.probe == nil {
		l.probe = l.look // made once: it is asked before each request
	}
	l.silent = false
	return l.raw.Read(l.probe) == nil && l.silent
}

// look reads without waiting.
func (l *link) look(fd uintptr) bool {
	_, err := syscall.Read(int(fd), l.one[:])
	l.silent = errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EWOULDBLOCK)
	return true
}
