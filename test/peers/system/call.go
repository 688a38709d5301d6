package system

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

var errStatus = errors.New("unexpected answer")

// Post sends body to url as JSON and wants a 2xx answer: what a Call does in a system that makes no HTTP calls itself.
func Post(ctx context.Context, client *http.Client, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("call: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("call: %w", err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return fmt.Errorf("call: %w", err)
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("call: %w: %s", errStatus, res.Status)
	}
	return nil
}
