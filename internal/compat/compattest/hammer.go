// Package compattest holds what the tests and benchmarks of the older systems' surfaces share.
package compattest

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/procstat"
)

// Hammer sends b.N requests to addr from 256 clients with a connection each, and reports requests/s and this process's cpu-us/op.
// Each request is what next gives, a whole HTTP/1.1 request; the status or the body of every answer must hold want.
func Hammer(b *testing.B, addr, want string, next func() []byte) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	start := time.Now()
	before, _ := procstat.CPU(os.Getpid())
	for range 256 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			defer c.Close()
			rd := bufio.NewReader(c)
			for left.Add(-1) >= 0 && ask(b, c, rd, want, next()) {
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "requests/s")
	if after, err := procstat.CPU(os.Getpid()); err == nil {
		b.ReportMetric(float64((after-before).Microseconds())/float64(b.N), "cpu-us/op")
	}
}

// ask sends one request and reads its answer. It is false when that is not as it should be.
func ask(b *testing.B, c net.Conn, rd *bufio.Reader, want string, request []byte) bool {
	if _, err := c.Write(request); err != nil {
		b.Error(err)
		return false
	}
	resp, err := http.ReadResponse(rd, nil)
	if err != nil {
		b.Error(err)
		return false
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !strings.Contains(resp.Status+string(body), want) {
		b.Errorf("%s %s %v", resp.Status, body, err)
		return false
	}
	return true
}
