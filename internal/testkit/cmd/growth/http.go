package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// caller speaks to an API over kept-alive connections.
type caller struct {
	client   *http.Client
	url, key string
}

func newCaller(url, key string) *caller {
	return &caller{&http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 8, DisableCompression: true}}, url, key}
}

func (c *caller) close() { c.client.CloseIdleConnections() }

var errStatus = errors.New("unexpected answer")

// call sends body as JSON (nil: none) and decodes the answer into out (nil: reads it only).
func (c *caller) call(ctx context.Context, method, path string, body, out any) error {
	var in io.Reader
	if body != nil {
		raw, ok := body.([]byte)
		if !ok {
			var err error
			if raw, err = json.Marshal(body); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
		in = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, in)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.client.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%w: %s %s: %s %.300s", errStatus, method, path, res.Status, raw)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
