package httpkit

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

// TestLargeBodiesShareABudget: while one large body is held, another is refused at once, however its length is told; a
// small one passes; and what was held is given back.
func TestLargeBodiesShareABudget(t *testing.T) {
	e := New(Options{})
	e.budget = newBudget(1 << 20)
	held, release := make(chan struct{}), make(chan struct{})
	e.Handle(Route{Method: http.MethodPost, Path: "/", Handle: func(_ context.Context, r *Request) (Response, error) {
		if _, err := r.Body(); err != nil {
			return Response{}, err
		}
		if r.Header("X-Hold") != "" {
			held <- struct{}{}
			<-release
		}
		return JSON(http.StatusOK, "ok")
	}})
	server := httptest.NewServer(e)
	defer server.Close()
	post := func(size int, hold, chunked bool) int {
		var body io.Reader = strings.NewReader(strings.Repeat("x", size))
		if chunked {
			body = io.MultiReader(body) // hides the length
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/", body)
		if err != nil {
			t.Error(err)
			return 0
		}
		if hold {
			req.Header.Set("X-Hold", "1")
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			return 0
		}
		defer res.Body.Close()
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Error(err)
		}
		return res.StatusCode
	}
	first := make(chan int)
	go func() { first <- post(800<<10, true, false) }()
	<-held
	for _, chunked := range []bool{false, true} {
		if got := post(800<<10, false, chunked); got != http.StatusServiceUnavailable {
			t.Errorf("a second large body (chunked %v): status %d, want 503", chunked, got)
		}
	}
	if got := post(1<<10, false, false); got != http.StatusOK {
		t.Errorf("a small body: status %d", got)
	}
	close(release)
	if got := <-first; got != http.StatusOK {
		t.Errorf("the first: status %d", got)
	}
	if got := post(800<<10, false, false); got != http.StatusOK {
		t.Errorf("after it: status %d", got)
	}
	if left := e.budget.left.Load(); left != 1<<20 {
		t.Errorf("%d bytes of the budget are left, want all", left)
	}
}

// TestAnnouncedBodiesTakeNoBudget: clients that announce large bodies and send nothing, or little, keep nobody out.
func TestAnnouncedBodiesTakeNoBudget(t *testing.T) {
	e := New(Options{})
	e.Handle(Route{Method: http.MethodPost, Path: "/", Handle: func(_ context.Context, r *Request) (Response, error) {
		b, err := r.Body()
		if err != nil {
			return Response{}, err
		}
		return JSON(http.StatusOK, len(b))
	}})
	server := httptest.NewServer(e)
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "http://")
	for range 2 * bodyBudget / MaxBody {
		idle, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer idle.Close()
		head := fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", MaxBody)
		if _, err := io.WriteString(idle, head); err != nil {
			t.Fatal(err)
		}
		// The server asks for the body: its handler reads it now.
		if line, err := bufio.NewReader(idle).ReadString('\n'); err != nil || !strings.Contains(line, "100") {
			t.Fatalf("answered %q, %v", line, err)
		}
	}
	for _, size := range []int{keepBuffer, keepBuffer + 1, 1 << 20, MaxBody} {
		for _, body := range []io.Reader{strings.NewReader(strings.Repeat("x", size)), io.MultiReader(strings.NewReader(strings.Repeat("x", size)))} {
			res, err := http.Post(server.URL+"/", "application/json", body)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil || res.StatusCode != http.StatusOK || strings.TrimSpace(string(got)) != strconv.Itoa(size) {
				t.Errorf("a body of %d bytes: %d %.200s %v", size, res.StatusCode, got, err)
			}
		}
	}
}
