package nsqbus

import (
	"net"
	"strconv"
	"testing"
)

// FuzzNodes reads anything as nsqlookupd's answer: what is given can be dialled, as far as text can tell.
func FuzzNodes(f *testing.F) {
	for _, s := range []string{`{"producers":[{"broadcast_address":"127.0.0.1","tcp_port":4150}]}`, `{"producers":[{"broadcast_address":"::1","tcp_port":65535},{"tcp_port":-1}]}`,
		`{"producers":[{"broadcast_address":"[::1]","tcp_port":1},{"broadcast_address":"a]b","tcp_port":1}]}`, `{"producers":null}`, `[]`, ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		nodes, err := parseNodes(body)
		if err != nil && len(nodes) > 0 {
			t.Fatalf("%q with %v", nodes, err)
		}
		for _, node := range nodes {
			host, port, err := net.SplitHostPort(node)
			if n, _ := strconv.Atoi(port); err != nil || host == "" || n < 1 || n > 65535 {
				t.Fatalf("%q from %q: %v", node, body, err)
			}
		}
	})
}
