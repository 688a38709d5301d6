package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// View answers like a nsqlookupd, but names other addresses of the nsqds: those over which one worker is to reach them.
type View struct {
	listener net.Listener
	server   *http.Server
	of       string         // the nsqlookupd's HTTP address
	ports    map[string]int // host:port of an nsqd → port of loopback that is named instead
	client   *http.Client
	ended    chan struct{}
}

// OpenView listens on a port of loopback.
func OpenView(of string, ports map[string]int) (*View, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a view of nsqlookupd: %w", err)
	}
	v := &View{listener: l, of: of, ports: ports, ended: make(chan struct{}),
		client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
	v.server = &http.Server{Handler: v, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(v.ended)
		_ = v.server.Serve(l) // until Close
	}()
	return v, nil
}

// Addr is where it listens.
func (v *View) Addr() string { return v.listener.Addr().String() }

// Close ends it and waits.
func (v *View) Close() error {
	err := v.server.Close()
	<-v.ended
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close a view of nsqlookupd: %w", err)
	}
	return nil
}

// ServeHTTP passes the question on and changes the answer. A nsqlookupd that is away looks like one: the connection breaks.
func (v *View) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+v.of+r.URL.RequestURI(), nil)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	res, err := v.client.Do(req)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if body, err = v.rename(body); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	w.WriteHeader(res.StatusCode)
	_, _ = w.Write(body) // the client may be gone
}

// rename changes the TCP ports of the producers that an answer lists. What is no list of producers stays as it is.
func (v *View) rename(body []byte) ([]byte, error) {
	in := json.NewDecoder(bytes.NewReader(body))
	in.UseNumber()
	var answer map[string]any
	if err := in.Decode(&answer); err != nil {
		return body, nil // /ping
	}
	producers, _ := answer["producers"].([]any)
	for _, p := range producers {
		producer, _ := p.(map[string]any)
		host, _ := producer["broadcast_address"].(string)
		number, _ := producer["tcp_port"].(json.Number)
		port, known := v.ports[net.JoinHostPort(host, number.String())]
		if !known {
			return nil, fmt.Errorf("nsqlookupd names an nsqd that the view does not know: %s:%s", host, number)
		}
		producer["tcp_port"] = json.Number(strconv.Itoa(port))
	}
	return json.Marshal(answer)
}
