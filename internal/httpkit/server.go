package httpkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"
)

// Listen opens a TCP address; port 0 takes a free one. key is the name of the configuration key, for the error.
func Listen(addr, key string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: the port of %q is taken by another program; choose another one, or port 0 for any free one: %w", key, addr, err)
	}
	return nil, fmt.Errorf("%s: cannot listen on %q: %w", key, addr, err)
}

// Server serves a handler on a listener.
type Server struct {
	http *http.Server
	ln   net.Listener
	done chan struct{}
	err  error // set before done is closed
}

// Serve starts serving; Shutdown ends it.
func Serve(ln net.Listener, h http.Handler, log *slog.Logger) *Server {
	if log == nil {
		log = slog.Default()
	}
	s := &Server{ln: ln, done: make(chan struct{}), http: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       75 * time.Second, // longer than the longest wait: its end would end a waiting request
		WriteTimeout:      90 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	go s.run()
	return s
}

func (s *Server) run() {
	defer close(s.done)
	if err := s.http.Serve(s.ln); !errors.Is(err, http.ErrServerClosed) {
		s.err = err
	}
}

// Addr is the address that is served, with the port that was taken.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Done is closed when nothing is accepted any more; Err then says why.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err is why serving ended, nil after Shutdown. To be called after Done.
func (s *Server) Err() error { return s.err }

// Shutdown accepts nothing new and waits for the requests under way; when ctx ends first their connections are closed.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	<-s.done
	return err
}
