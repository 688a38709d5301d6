package outbound

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// nameServer answers every name that ends with .test; the n-th query of a name gets the n-th list of addresses, later ones the
// last list.
type nameServer struct {
	conn net.PacketConn
	done chan struct{}

	mu      sync.Mutex
	answers map[string][][]netip.Addr
	asked   map[string]int
}

// serveNames makes this process's resolver ask a server of its own.
func serveNames(t *testing.T, answers map[string][][]netip.Addr) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{conn: conn, done: make(chan struct{}), answers: answers, asked: map[string]int{}}
	go s.run()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		_ = conn.Close()
		<-s.done
	})
	return s
}

func (s *nameServer) run() {
	defer close(s.done)
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer := s.answer(buf[:n]); answer != nil {
			_, _ = s.conn.WriteTo(answer, from)
		}
	}
}

// answer builds a response (RFC 1035, 4.1) to a query with one question.
func (s *nameServer) answer(query []byte) []byte {
	if len(query) < 17 {
		return nil
	}
	var labels []string
	end := 12
	for query[end] != 0 {
		size := int(query[end])
		labels = append(labels, string(query[end+1:end+1+size]))
		end += 1 + size
	}
	name, kind := strings.ToLower(strings.Join(labels, ".")), binary.BigEndian.Uint16(query[end+1:])
	question := query[12 : end+5]
	var records [][]byte
	const a = 1
	list, known := s.next(name, kind == a)
	for _, addr := range list {
		if addr.Is4() && kind == a {
			records = append(records, append([]byte{0xc0, 12, 0, a, 0, 1, 0, 0, 0, 0, 0, 4}, addr.AsSlice()...))
		}
	}
	out := append([]byte{query[0], query[1], 0x84, 0x00, 0, 1, 0, byte(len(records)), 0, 0, 0, 0}, question...)
	if !known {
		out[3] = 3 // no such name
	}
	for _, r := range records {
		out = append(out, r...)
	}
	return out
}

func (s *nameServer) next(name string, count bool) (list []netip.Addr, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answers := s.answers[name]
	if len(answers) == 0 {
		return nil, false
	}
	n := s.asked[name]
	if count {
		s.asked[name]++
	}
	return answers[min(n, len(answers)-1)], true
}

func (s *nameServer) times(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[name]
}
