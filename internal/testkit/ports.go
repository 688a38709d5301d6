package testkit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// The ports that private servers take: below Linux's ephemeral range (32768 …), see the package documentation.
const (
	firstPort = 20_000
	lastPort  = 32_000
)

var errNoPort = errors.New("no free loopback port found")

// FreePort finds a TCP port of 127.0.0.1 that nobody listens on, outside the range of outgoing connections. It is free when
// asked, not reserved: starting a server on it may still fail and be tried again with another.
func FreePort() (int, error) {
	for range 200 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		l, err := net.Listen("tcp", Loopback(port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return 0, fmt.Errorf("close probe: %w", err)
		}
		return port, nil
	}
	return 0, errNoPort
}

// Loopback is the address of a port of 127.0.0.1.
func Loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
