package testkit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports that private servers take: below Linux's ephemeral range (32768 …), see the package documentation.
const (
	firstPort = 20_000
	lastPort  = 32_000
)

var errNoPort = errors.New("no free loopback port found")

// given are the ports that this process was given, so that none is given twice: who asks for one may need a while until it
// listens there, and starts other servers meanwhile.
var given struct {
	sync.Mutex
	ports map[int]bool
}

// givenMost is when all are forgotten: a third of the range.
const givenMost = (lastPort - firstPort) / 3

// FreePort finds a TCP port of 127.0.0.1 that nobody listens on, outside the range of outgoing connections, and that this process
// was not given before. It is free when asked, not reserved: starting a server on it may still fail, because of another
// process, and be tried again with another.
func FreePort() (int, error) {
	given.Lock()
	defer given.Unlock()
	if given.ports == nil || len(given.ports) >= givenMost {
		given.ports = map[int]bool{}
	}
	for range 200 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if given.ports[port] {
			continue
		}
		l, err := net.Listen("tcp", Loopback(port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return 0, fmt.Errorf("close probe: %w", err)
		}
		given.ports[port] = true
		return port, nil
	}
	return 0, errNoPort
}

// Loopback is the address of a port of 127.0.0.1.
func Loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
