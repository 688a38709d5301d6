package client

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

const secretKey = "tw_very-secret-key"

// The key goes to no other host, and a POST does not become a GET.
func TestRedirects(t *testing.T) {
	stolen := ""
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stolen = r.Header.Get("Authorization") }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		asked := 0
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked++
			http.Redirect(w, r, other.URL+"/v1/tasks", status)
		}))
		c, err := New(srv.URL, secretKey)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Submit(t.Context(), "echo", nil)
		_, err2 := c.Get(t.Context(), 1)
		for _, err := range []error{err, err2} {
			if !errors.Is(err, errRedirect) || IsTemporary(err) || strings.Contains(err.Error(), secretKey) {
				t.Errorf("%d: %v", status, err)
			}
		}
		if asked != 2 || stolen != "" {
			t.Errorf("%d: asked %d times, the other host got %q", status, asked, stolen)
		}
		c.Close()
		srv.Close()
	}
}

func TestRedirectsOnTheSameHost(t *testing.T) {
	c := scripted(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/new") {
			status := 308
			if r.URL.Path == "/v1/tasks/9" {
				status = 302
			}
			http.Redirect(w, r, "/new"+r.URL.Path, status)
			return
		}
		if r.Header.Get("Authorization") != "Bearer the-key" {
			t.Error("the key got lost on the same host")
		}
		_, _ = w.Write((&apiv1.Task{ID: 9, Kind: r.Method}).AppendJSON(nil))
	})
	if got, err := c.Submit(t.Context(), "echo", nil); err != nil || got.Kind != "POST" {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := c.Get(t.Context(), 9); err != nil || got.Kind != "GET" {
		t.Errorf("%+v %v", got, err)
	}
}

func TestTheKeyIsInNoText(t *testing.T) {
	c, err := New("http://127.0.0.1:1", secretKey, WithRetry(RetryPolicy{Tries: 1}), WithApp("other"))
	if err != nil {
		t.Fatal(err)
	}
	_, gone := c.Get(t.Context(), 1)
	refused := scripted(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		problem(w, 401, `{"status":401,"code":"unauthorized"}`)
	})
	refused.core.authorize = c.core.authorize
	_, unauthorized := refused.Get(t.Context(), 1)
	var logged strings.Builder
	logger := slog.New(slog.NewJSONHandler(&logged, nil))
	logger.Info("x", "client", c, "queues", c.Queues, "gone", gone, "unauthorized", unauthorized)
	text := logged.String() + fmt.Sprintf("%v %+v %#v %s %v %+v %#v %+v %#v", c, c, c, c, c.Queues, c.Queues, c.core, gone, unauthorized)
	if raw, err := json.Marshal(c); err == nil {
		text += string(raw)
	}
	if strings.Contains(text, "very-secret") || gone == nil || unauthorized == nil {
		t.Errorf("the key is in %s", text)
	}
	if c.String() != "client of http://127.0.0.1:1 for app other" {
		t.Error(c.String())
	}
}

func TestNewChecksWhatItGets(t *testing.T) {
	for _, c := range []struct{ url, key string }{
		{"", "k"}, {"127.0.0.1:8080", "k"}, {"ftp://x", "k"}, {"http://", "k"}, {"http://u:p@x", "k"}, {"http://x?a=b", "k"}, {"http://x#f", "k"}, {"http://x\n", "k"},
		{"http://x", ""}, {"http://x", "a b"}, {"http://x", "a\nb"}, {"http://x", "ü"},
	} {
		if _, err := New(c.url, c.key); err == nil || strings.Contains(err.Error(), ":p@") {
			t.Errorf("New(%q, %q): %v", c.url, c.key, err)
		}
	}
	for i, o := range []Option{WithTimeout(0), WithPatience(-1), WithHTTPClient(nil), WithUserAgent("a\r\nb: c")} {
		if _, err := New("http://x", "k", o); err == nil {
			t.Errorf("option %d was taken", i)
		}
	}
	if c, err := New("https://x/prefix//", "k"); err != nil || c.BaseURL() != "https://x/prefix" {
		t.Errorf("%v %v", c, err)
	}
}

// An http.Client of the caller brings its TLS; it is not changed, and its timeout does not cut long waits.
func TestOwnHTTPClient(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != "billing/2 "+agent {
			t.Errorf("user agent %q", r.UserAgent())
		}
		if r.URL.Query().Has("wait") {
			<-time.After(150 * time.Millisecond)
		}
		_, _ = w.Write((&apiv1.Task{ID: 9, State: "succeeded"}).AppendJSON(nil))
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // one handshake is meant to fail
	srv.StartTLS()
	defer srv.Close()
	plain, err := New(srv.URL, "k", WithRetry(RetryPolicy{Tries: 3}))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	_, err = plain.Get(t.Context(), 9)
	if _, wrong := errors.AsType[*tls.CertificateVerificationError](err); !wrong || IsTemporary(err) {
		t.Errorf("a wrong certificate: %v", err)
	}
	hc := srv.Client()
	hc.Timeout = 100 * time.Millisecond
	c, err := New(srv.URL, "k", WithHTTPClient(hc), WithUserAgent("billing/2"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Wait(t.Context(), 9); err != nil {
		t.Error(err)
	}
	if hc.CheckRedirect != nil || hc.Timeout != 100*time.Millisecond || c.core.timeout != 100*time.Millisecond {
		t.Error("the caller's client was changed")
	}
}

func TestManySmallRequestsShareConnections(t *testing.T) {
	c := scripted(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write((&apiv1.Task{ID: 9}).AppendJSON(nil))
	})
	const atOnce, rounds = 32, 20
	opened := make(chan struct{}, atOnce*rounds)
	dial := c.core.own.DialContext
	c.core.own.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		opened <- struct{}{}
		return dial(ctx, network, addr)
	}
	done := make(chan error)
	for range atOnce {
		go func() {
			var err error
			for range rounds {
				if _, e := c.Get(t.Context(), 9); e != nil {
					err = e
				}
			}
			done <- err
		}()
	}
	for range atOnce {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := len(opened); n > 2*atOnce {
		t.Errorf("%d requests opened %d connections", atOnce*rounds, n)
	}
}
