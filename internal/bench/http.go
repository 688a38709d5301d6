package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// post is a client with kept-alive connections: the same code drives the bare server and the API.
type post struct {
	client *http.Client
	url    string
	key    string
}

func newPost(url, key string, connections int) *post {
	return &post{&http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConns: connections, MaxIdleConnsPerHost: connections,
		MaxConnsPerHost: connections, DisableCompression: true}}, url, key}
}

func (p *post) close() { p.client.CloseIdleConnections() }

var errStatus = errors.New("unexpected answer")

// send POSTs a body to url+path and gives the answer's.
func (p *post) send(ctx context.Context, path string, body []byte, into *bytes.Buffer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+p.key)
	res, err := p.client.Do(req)
	if err != nil {
		return fmt.Errorf("post: %w", err)
	}
	defer res.Body.Close()
	into.Reset()
	if _, err := into.ReadFrom(res.Body); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%w: %s %.300s", errStatus, res.Status, into.Bytes())
	}
	return nil
}

// submitBody is one task as the API takes it.
func submitBody(queue string, payload []byte) []byte {
	return fmt.Appendf(nil, `{"kind":%q,"queue":%q,"payload":%s}`, Kind, queue, payload)
}

// batchBody is n of them.
func batchBody(queue string, payload []byte, n int) []byte {
	one := submitBody(queue, payload)
	return fmt.Appendf(nil, `{"tasks":[%s]}`, bytes.Join(slices.Repeat([][]byte{one}, n), []byte(",")))
}

// singleID reads the id of an answer to a single submit without decoding all of it; the id is a string of digits.
func singleID(answer []byte) (int64, error) {
	const field = `"id":"`
	i := bytes.Index(answer, []byte(field))
	if i < 0 {
		return 0, fmt.Errorf("%w: no id in %.200s", errStatus, answer)
	}
	rest := answer[i+len(field):]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return 0, fmt.Errorf("%w: no id in %.200s", errStatus, answer)
	}
	id, err := strconv.ParseInt(string(rest[:end]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: id: %w", errStatus, err)
	}
	return id, nil
}

// batchIDs reads the ids of an answer to a batch.
func batchIDs(answer []byte) ([]int64, error) {
	var page struct {
		Items []struct {
			Task *struct {
				ID int64 `json:"id,string"`
			} `json:"task"`
			Error json.RawMessage `json:"error"`
		} `json:"items"`
	}
	if err := json.Unmarshal(answer, &page); err != nil {
		return nil, fmt.Errorf("%w: %w", errStatus, err)
	}
	ids := make([]int64, len(page.Items))
	for i, item := range page.Items {
		if item.Task == nil {
			return nil, fmt.Errorf("%w: %.200s", errStatus, item.Error)
		}
		ids[i] = item.Task.ID
	}
	return ids, nil
}

// bareServer reads a POST and answers: the yardstick H and the receiver of HTTP tasks.
type bareServer struct {
	url    string
	server *http.Server
	done   chan error
	calls  atomic.Int64
}

func newBareServer() (*bareServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("bare server: %w", err)
	}
	b := &bareServer{url: "http://" + l.Addr().String(), done: make(chan error, 1)}
	b.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return // the client has gone
		}
		b.calls.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"1"}`) // a client that has gone needs no answer
	})}
	go func() { b.done <- b.server.Serve(l) }()
	return b, nil
}

func (b *bareServer) close() {
	_ = b.server.Close() // only its listener could complain, and it is not needed any more
	<-b.done
}
