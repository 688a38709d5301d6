package client

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"
)

const modulePath = "github.com/taskweir/taskweir"

// agent is the User-Agent: the module's version where the program that is running knows it.
var agent = "taskweir-go/" + moduleVersion()

func moduleVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == modulePath && strings.HasPrefix(m.Version, "v") {
			return m.Version
		}
	}
	return "dev"
}

// newTransport is made for many small requests to one host: http.DefaultTransport keeps two idle connections a host and would
// open and close one for nearly every request of a busy program.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          256,
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   5 * time.Second,
		ExpectContinueTimeout: time.Second,
		// All requests share one HTTP/2 connection: one that hangs must be noticed, or every request would wait for its timeout.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}
}

// errRedirect is why a redirect is not followed. It is never worth repeating.
var errRedirect = errors.New("refused to follow a redirect")

// guardRedirects keeps the API key with its host and a POST a POST, whatever a proxy answers. The same host over https instead
// of http is fine; after at most three hops.
func guardRedirects(next func(*http.Request, []*http.Request) error) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		first := via[0]
		if next != nil {
			if err := next(req, via); err != nil {
				return err
			}
		}
		switch {
		case len(via) > 3:
			return fmt.Errorf("%w: there are too many", errRedirect)
		case !sameHost(first.URL, req.URL):
			return fmt.Errorf("%w to another host: %s://%s must not get the API key", errRedirect, req.URL.Scheme, req.URL.Host)
		case first.Method != req.Method:
			return fmt.Errorf("%w that turns %s into %s; use the address %s://%s", errRedirect, first.Method, req.Method, req.URL.Scheme, req.URL.Host)
		}
		return nil
	}
}

func sameHost(from, to *url.URL) bool {
	if from.Scheme == to.Scheme {
		return strings.EqualFold(from.Host, to.Host)
	}
	return from.Scheme == "http" && to.Scheme == "https" && strings.EqualFold(from.Hostname(), to.Hostname())
}
