package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Rule is what a failpoint does; see internal/failpoint, where it is the same and documented.
type Rule struct {
	Action  string `json:"action"`
	Skip    int64  `json:"skip,omitempty"`
	Times   int64  `json:"times,omitempty"`
	Every   int64  `json:"every,omitempty"`
	DelayMs int64  `json:"delayMs,omitempty"`
	Error   string `json:"error,omitempty"`
}

// String is how a printed plan shows it.
func (r *Rule) String() string {
	s := r.Action
	if r.Error != "" {
		s += " " + r.Error
	}
	if r.DelayMs != 0 {
		s += fmt.Sprintf(" %d ms", r.DelayMs)
	}
	if r.Times > 1 {
		s += fmt.Sprintf(" %d times", r.Times)
	}
	if r.Every > 1 {
		s += fmt.Sprintf(", each %d.", r.Every)
	}
	if r.Skip > 0 {
		s += fmt.Sprintf(" after %d", r.Skip)
	}
	return s
}

// Count is how often a failpoint was passed and how often it acted since the process began.
type Count struct{ Passed, Acted int64 }

var pointsClient = &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// SetPoint puts a rule at a failpoint of the process, in place of the one before.
func (u *Unit) SetPoint(ctx context.Context, point string, r Rule) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("set %s: %w", point, err)
	}
	return u.points(ctx, http.MethodPut, "/"+point, body, nil)
}

// ClearPoint takes the rule of a failpoint away.
func (u *Unit) ClearPoint(ctx context.Context, point string) error {
	return u.points(ctx, http.MethodDelete, "/"+point, nil, nil)
}

// Points gives the counts of every failpoint.
func (u *Unit) Points(ctx context.Context) (map[string]Count, error) {
	counts := map[string]Count{}
	return counts, u.points(ctx, http.MethodGet, "", nil, &counts)
}

func (u *Unit) points(ctx context.Context, method, path string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+u.faults+"/faults"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("failpoints of %s: %w", u.Name, err)
	}
	res, err := pointsClient.Do(req)
	if err != nil {
		return fmt.Errorf("failpoints of %s: %w", u.Name, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("failpoints of %s: %w", u.Name, err)
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("failpoints of %s: %s %s: %s: %s", u.Name, method, path, res.Status, bytes.TrimSpace(text))
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("failpoints of %s: %w", u.Name, err)
	}
	return nil
}
