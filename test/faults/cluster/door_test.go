package cluster

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
)

// says is a server that answers with its name.
func says(t *testing.T, name string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, name, " ", string(body))
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestDoorPassesEachProcessOnToItsOwnAddress(t *testing.T) {
	mine, others := says(t, "mine"), says(t, "other's")
	visitors := []Visitor{{os.Getppid(), others}, {os.Getpid(), mine}}
	d, err := OpenDoor(func() []Visitor { return visitors })
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post("http://"+d.Addr(), "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(body) != "mine " {
		t.Fatalf("%q, %v", body, err)
	}

	visitors = visitors[:1]
	c, err := net.Dial("tcp", d.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Fatalf("a stranger was let in: %d bytes", n)
	}
	must(t, d.Close())
	if _, err := net.Dial("tcp", d.Addr()); err == nil {
		t.Fatal("a closed door lets in")
	}
}

func TestViewNamesTheWorkersOwnAddresses(t *testing.T) {
	lookupd := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ping" {
			fmt.Fprint(w, "OK")
			return
		}
		fmt.Fprint(w, `{"producers":[{"broadcast_address":"127.0.0.1","tcp_port":4150,"topics":["a"]},{"broadcast_address":"127.0.0.1","tcp_port":4250}]}`)
	}))
	defer lookupd.Close()
	ports := map[string]int{"127.0.0.1:4150": 1, "127.0.0.1:4250": 2}
	v, err := OpenView(lookupd.Listener.Addr().String(), ports)
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := http.Get("http://" + v.Addr() + path)
		if err != nil {
			return 0, ""
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if code, body := get("/nodes"); code != 200 || body != `{"producers":[{"broadcast_address":"127.0.0.1","tcp_port":1,"topics":["a"]},{"broadcast_address":"127.0.0.1","tcp_port":2}]}` {
		t.Errorf("%d %s", code, body)
	}
	if code, body := get("/ping"); code != 200 || body != "OK" {
		t.Errorf("%d %s", code, body)
	}
	delete(ports, "127.0.0.1:4250")
	if code, body := get("/nodes"); code != http.StatusBadGateway {
		t.Errorf("an nsqd without a link is named: %d %s", code, body)
	}
	lookupd.Close()
	if code, body := get("/nodes"); code != 0 {
		t.Errorf("without nsqlookupd: %d %s", code, body)
	}
	must(t, v.Close())
}
