package httpkit

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
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
