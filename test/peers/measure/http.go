package measure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/test/peers/system"
)

// receiver is a bare Go HTTP server that reads a POST and answers: what callbacks call, and the yardstick of everything that
// goes over HTTP. It notes the tasks whose payload it was sent.
type receiver struct {
	url    string
	server *http.Server
	done   chan error
	quiet  atomic.Bool // note nothing: what comes is a yardstick
}

func newReceiver(rec *recorder) (*receiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("receiver: %w", err)
	}
	r := &receiver{url: "http://" + l.Addr().String(), done: make(chan error, 1)}
	r.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // the client has gone
		}
		if !r.quiet.Load() {
			if t, err := system.ParsePayload(body); err == nil {
				rec.note(t.Number)
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"1"}`) // a client that has gone needs no answer
	})}
	go func() { r.done <- r.server.Serve(l) }()
	return r, nil
}

func (r *receiver) close() {
	_ = r.server.Close() // only its listener could complain, and it is not needed any more
	<-r.done
}

// http measures submits over HTTP, beside the same requests to a bare server, where the system has an HTTP API.
func (r *round) http(ctx context.Context) error {
	api, ok := r.sys.(system.API)
	if !ok {
		r.res.none(SteadyHTTP, "tasks/s")
		return nil
	}
	end := api.API()
	bare := end
	bare.URL, bare.Accepted = r.url, func(system.Task, []byte) error { return nil }
	for _, yard := range []struct {
		name    string
		clients int
	}{{BareHTTP, clients}, {BareHTTPFew, fewClients}} {
		if err := r.bare(ctx, yard.name, yard.clients, bare); err != nil {
			return err
		}
	}
	post := newPoster(end, clients)
	defer post.client.CloseIdleConnections()
	return r.flow(ctx, SteadyHTTP, clients, func(ctx context.Context) error { return post.send(ctx, r.next(system.Noop)) })
}

// The clients that submit over HTTP, and the number at which bare requests are fastest.
const (
	clients    = 256
	fewClients = 16
)

// bare measures the yardstick: the same requests by the same client code.
func (r *round) bare(ctx context.Context, name string, n int, end system.Endpoint) error {
	r.recv.quiet.Store(true)
	defer r.recv.quiet.Store(false)
	post := newPoster(end, n)
	defer post.client.CloseIdleConnections()
	var sent atomic.Int64
	took, err := callers(ctx, n, r.o.Yard, func(ctx context.Context, _ int) error {
		return post.send(ctx, system.Task{Number: sent.Add(1)})
	})
	if err != nil {
		return err
	}
	r.res.add(name, "requests/s", perSecond(sent.Load(), took))
	return nil
}

// poster submits over HTTP.
type poster struct {
	client *http.Client
	end    system.Endpoint
}

func newPoster(end system.Endpoint, connections int) *poster {
	return &poster{newClient(connections), end}
}

var errStatus = errors.New("unexpected answer")

func (p *poster) send(ctx context.Context, t system.Task) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.end.URL, bytes.NewReader(p.end.Body(t)))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header = p.end.Header.Clone()
	res, err := p.client.Do(req)
	if err != nil {
		return fmt.Errorf("post: %w", err)
	}
	defer res.Body.Close()
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(res.Body); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%w: %s %.300s", errStatus, res.Status, answer.Bytes())
	}
	return p.end.Accepted(t, answer.Bytes())
}
