package serendipity_test

import (
	"bufio"
	"crypto/md5"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A nonce of strict mode is remembered for as long as its request is in the window. Who sends a request again must not be in the window with
// its headers and be taken with a body that comes when the nonce is forgotten.
func TestAStrictRequestWhoseBodyComesTooLate(t *testing.T) {
	t.Parallel()
	a := newStandalone(t, nil)
	s := newShop(t, a.URL()+"/serendipity", "")
	if status := a.call(t, "PATCH", "/v1/apps/"+s.key, `{"signatureMode":"strict"}`, nil); status != 200 {
		t.Fatal(status)
	}
	const body = `{"taskNo":"slow","content":"{}","name":"n","timeout":1000}`
	at := time.Now().Add(-296 * time.Second).Truncate(time.Second)
	h := s.signed(at, fmt.Sprintf("%x", md5.Sum([]byte(body))))
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", a.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	var head strings.Builder
	fmt.Fprintf(&head, "POST /serendipity/task/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n", len(body))
	for k, v := range h {
		fmt.Fprintf(&head, "%s: %s\r\n", k, v[0])
	}
	if _, err := conn.Write([]byte(head.String() + "\r\n")); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") { // the headers were good: it asks for the body
		t.Fatalf("%q %v", line, err)
	}
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(at.Add(300*time.Second + 100*time.Millisecond)))
	if _, err := conn.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d", res.StatusCode)
	}
}
