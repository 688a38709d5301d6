//go:build faults

package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/taskweir/taskweir/internal/failpoint"
)

// Server answers until it is closed, or the process ends.
type Server struct {
	http  *http.Server
	addr  string
	ended chan struct{}
}

// Serve listens on host:port. It must be an address of this machine's loopback: whoever reaches it can kill the process.
func Serve(addr string) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("control of faults: %w", err)
	}
	if at, ok := l.Addr().(*net.TCPAddr); !ok || !at.IP.IsLoopback() {
		_ = l.Close()
		return nil, fmt.Errorf("control of faults: %s is not on the loopback", addr)
	}
	s := &Server{addr: l.Addr().String(), ended: make(chan struct{})}
	s.http = &http.Server{Handler: Handler(), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		defer close(s.ended)
		_ = s.http.Serve(l) // until Close
	}()
	return s, nil
}

// Addr is where it listens.
func (s *Server) Addr() string { return s.addr }

// Close ends it and waits.
func (s *Server) Close() {
	_ = s.http.Close() // nothing is kept
	<-s.ended
}

// Handler serves the control's pages.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(failpoint.Counts()) // the client may be gone
	})
	mux.HandleFunc("PUT /faults/{point}", onPoint(func(p failpoint.Point, r *http.Request) error {
		var rule failpoint.Rule
		in := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 4096))
		in.DisallowUnknownFields()
		if err := in.Decode(&rule); err != nil {
			return err
		}
		if in.More() {
			return errors.New("one rule is expected")
		}
		return failpoint.Set(p, rule)
	}))
	mux.HandleFunc("DELETE /faults/{point}", onPoint(func(p failpoint.Point, _ *http.Request) error {
		failpoint.Clear(p)
		return nil
	}))
	return mux
}

// onPoint finds the point that a path names. 204, 404 for a point that does not exist, 400 with a text for what do refuses.
func onPoint(do func(failpoint.Point, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, known := failpoint.Named(r.PathValue("point"))
		if !known {
			http.Error(w, "no such point", http.StatusNotFound)
			return
		}
		if err := do(p, r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}
