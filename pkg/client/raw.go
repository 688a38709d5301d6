package client

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
)

// Do sends a request of your own making, for routes and members that this version of the client does not know, and gives the
// answer if it is a success. path begins with a slash, its segments escaped; body is JSON or nil. Nothing is added to the query, not
// the app of WithApp either. It is repeated as any other: a POST or PATCH without IdempotencyKey only when the server cannot have
// begun it.
func (c *Client) Do(ctx context.Context, method, path string, query url.Values, body []byte, opts ...CallOption) (*Response, error) {
	r, err := rawRequest(method, path, query, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.call(ctx, r, opts...)
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// Open sends a GET of your own making whose answer is read while it grows, such as an event stream: accept is its media type, "" any. The read
// fails when the server says nothing for 45 s; nothing is opened again. No reader and no error: there is nothing to
// say (204). Whoever gets the reader closes it.
func (c *Client) Open(ctx context.Context, path string, query url.Values, accept, lastEventID string, opts ...CallOption) (io.ReadCloser, error) {
	r, err := rawRequest(http.MethodGet, path, query, nil)
	if err != nil {
		return nil, err
	}
	for _, o := range opts {
		o(r)
	}
	conn, err := c.openStream(ctx, r, accept, lastEventID)
	if err != nil || conn == nil {
		return nil, err
	}
	return rawStream{conn}, nil
}

func rawRequest(method, path string, query url.Values, body []byte) (*request, error) {
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#") {
		return nil, errors.New("taskweir: the path must begin with a slash and hold neither query nor fragment")
	}
	r := &request{method: method, path: path, query: maps.Clone(query), body: body, takesKey: true}
	if r.query == nil {
		r.query = url.Values{}
	}
	if method == http.MethodPost || method == http.MethodPatch {
		r.repeat = twiceIsTwice
	}
	return r, nil
}

// rawStream tells why reading failed.
type rawStream struct{ *connection }

// Read reads what has come, or waits.
func (s rawStream) Read(b []byte) (int, error) {
	n, err := s.connection.Read(b)
	if err != nil && err != io.EOF {
		err = s.because(err)
	}
	return n, err
}
