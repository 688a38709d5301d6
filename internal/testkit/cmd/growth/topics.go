package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// forget deletes the topics of nsqd. All databases use the same, and what another one announced would only be refused.
func (k *kit) forget(ctx context.Context) error {
	base := "http://" + k.servers.NSQD[0].HTTPAddr()
	raw, err := askNSQ(ctx, http.MethodGet, base+"/stats?format=json")
	if err != nil {
		return err
	}
	var stats struct {
		Topics []struct {
			Name string `json:"topic_name"`
		} `json:"topics"`
	}
	if err := json.Unmarshal(raw, &stats); err != nil {
		return fmt.Errorf("read nsqd's topics: %w", err)
	}
	for _, topic := range stats.Topics {
		if _, err := askNSQ(ctx, http.MethodPost, base+"/topic/delete?topic="+topic.Name); err != nil {
			return err
		}
	}
	return nil
}

// askNSQ gives the body of a 200 answer.
func askNSQ(ctx context.Context, method, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, fmt.Errorf("ask nsqd: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask nsqd: %w", err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("ask nsqd: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask nsqd: %w: %s %.200s", errStatus, res.Status, raw)
	}
	return raw, nil
}
