package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Defaults of a Client.
const (
	DefaultTimeout  = 30 * time.Second // of one try of a request
	DefaultPatience = 5 * time.Minute  // of waits and streams, without any answer
)

// Client talks to one installation with one API key. It is safe for concurrent use.
type Client struct {
	Schedules Schedules      // what makes tasks by the clock
	Queues    Queues         // how they stand, limits, pause
	LimitKeys LimitKeys      // limits that tasks of an app share
	Kinds     Kinds          // which tasks there may be
	Workers   Workers        // who runs them
	Apps      Apps           // client applications, their keys and secrets; for administrators
	Bulk      BulkOperations // one action on many tasks

	core *core
	app  string // ?app= of requests that take it; "": the key's
}

// core is what a client and those derived from it share.
type core struct {
	base      string // without a slash at its end
	authorize func(*http.Request)
	agent     string
	http      *http.Client
	own       *http.Transport // nil: the caller's
	timeout   time.Duration
	patience  time.Duration // 0: no end
	silence   time.Duration // of a stream that is taken for dead
	policy    RetryPolicy
	budget    budget
	pause     func(ctx context.Context, d time.Duration) error // tests do not wait
}

// Option changes what New makes.
type Option func(*settings) error

type settings struct {
	core
	app       string
	anonymous bool
}

// WithHTTPClient makes requests with hc, for proxies, TLS and tracing of your own. It is copied: its Timeout becomes that of one try
// (waits and streams may last longer), and redirects are followed only where both its CheckRedirect and this package allow it.
func WithHTTPClient(hc *http.Client) Option {
	return func(s *settings) error {
		if hc == nil {
			return errors.New("the http.Client is nil")
		}
		own := *hc
		s.http = &own
		if own.Timeout > 0 {
			s.timeout, own.Timeout = own.Timeout, 0
		}
		return nil
	}
}

// WithTimeout bounds one try of a request; a wait on the server comes on top. Default DefaultTimeout.
func WithTimeout(d time.Duration) Option {
	return func(s *settings) error {
		if d <= 0 {
			return fmt.Errorf("the timeout %v is not above 0", d)
		}
		s.timeout = d
		return nil
	}
}

// WithPatience says how long Wait, Bulk.Wait, FollowLog and event streams go on without any answer from the server; 0: until
// their context ends. Default DefaultPatience.
func WithPatience(d time.Duration) Option {
	return func(s *settings) error {
		if d < 0 {
			return fmt.Errorf("the patience %v is below 0", d)
		}
		s.patience = d
		return nil
	}
}

// WithRetry says how requests are repeated. Members that are zero keep their default.
func WithRetry(p RetryPolicy) Option {
	return func(s *settings) error {
		s.policy = p
		return nil
	}
}

// WithUserAgent puts the program's name, such as "billing/2.1", before the client's own in User-Agent.
func WithUserAgent(name string) Option {
	return func(s *settings) error {
		if !printable(name) {
			return errors.New("the user agent must be printable ASCII")
		}
		s.agent = name + " " + s.agent
		return nil
	}
}

// WithApp acts on another app, named by its public id; that needs a key with scope admin. "*" reads those of all apps where
// the API allows it. Client.ForApp does the same later.
func WithApp(id string) Option {
	return func(s *settings) error {
		s.app = id
		return nil
	}
}

// Anonymous lets New take an empty key, for what needs none: Health, Ready, and Do with WithoutKey. Everything else is answered with
// ErrUnauthorized then.
func Anonymous() Option {
	return func(s *settings) error {
		s.anonymous = true
		return nil
	}
}

// New makes a client of the API at baseURL, such as https://taskweir.example.com; a path before /v1 is fine. It connects to nothing
// yet.
func New(baseURL, apiKey string, opts ...Option) (*Client, error) {
	base, err := address(baseURL)
	if err != nil {
		return nil, fmt.Errorf("taskweir: %w", err)
	}
	s := &settings{core: core{base: base, agent: agent, timeout: DefaultTimeout, patience: DefaultPatience, silence: silence, pause: pause}}
	// The key lives in a closure: no way of printing a Client, however deep, finds it.
	s.authorize = func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+apiKey) }
	for _, o := range opts {
		if err := o(s); err != nil {
			return nil, fmt.Errorf("taskweir: %w", err)
		}
	}
	switch {
	case apiKey == "" && s.anonymous:
		s.authorize = func(*http.Request) {}
	case apiKey == "" || !printable(apiKey) || strings.Contains(apiKey, " "):
		return nil, errors.New("taskweir: the API key must be printable ASCII without spaces, and not empty")
	}
	if s.policy = s.policy.withDefaults(); s.policy.Pause != nil {
		s.pause = s.policy.Pause
	}
	if s.http == nil {
		s.own = newTransport()
		s.http = &http.Client{Transport: s.own}
	}
	s.http.CheckRedirect = guardRedirects(s.http.CheckRedirect)
	return (&Client{core: &s.core, app: s.app}).bound(), nil
}

func (c *Client) bound() *Client {
	c.Schedules, c.Queues, c.LimitKeys, c.Kinds = Schedules{c}, Queues{c}, LimitKeys{c}, Kinds{c}
	c.Workers, c.Apps, c.Bulk = Workers{c}, Apps{c}, BulkOperations{c}
	return c
}

// ForApp is a client that acts on another app, as WithApp says. It shares everything else with c.
func (c *Client) ForApp(id string) *Client { return (&Client{core: c.core, app: id}).bound() }

// Close closes idle connections. Requests under way go on.
func (c *Client) Close() { c.core.http.CloseIdleConnections() }

// BaseURL is the address that the client talks to.
func (c *Client) BaseURL() string { return c.core.base }

// String names the client for logs; the API key is not in it.
func (c *Client) String() string {
	if c.app != "" {
		return "client of " + c.core.base + " for app " + c.app
	}
	return "client of " + c.core.base
}

// GoString is String.
func (c *Client) GoString() string { return c.String() }

// address checks and cleans a base URL.
func address(raw string) (string, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return "", errors.New("the address of the API is no URL")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return "", fmt.Errorf("the address of the API must be like http://host:port, not %q", u.Redacted())
	case u.User != nil:
		return "", errors.New("the address of the API must not hold a user name or password")
	case u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return "", errors.New("the address of the API must not have a query or fragment")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
