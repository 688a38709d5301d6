package taskweir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/taskweir/taskweir/test/peers/system"
)

// API implements system.API: POST /v1/tasks.
func (in *installation) API() system.Endpoint {
	return system.Endpoint{
		URL:    in.sys.BaseURL() + "/v1/tasks",
		Header: http.Header{"Authorization": {"Bearer " + in.client.Key()}, "Content-Type": {"application/json"}},
		Body: func(t system.Task) []byte {
			return fmt.Appendf(nil, `{"kind":%q,"queue":%q,"payload":%s}`, kind, queues[t.Kind], t.Payload())
		},
		Accepted: func(t system.Task, answer []byte) error {
			id, err := idOf(answer)
			if err != nil {
				return err
			}
			in.note(id, t)
			return nil
		},
	}
}

var errAnswer = errors.New("unexpected answer")

// idOf reads the id without decoding the whole answer: the client is not what is measured.
func idOf(answer []byte) (int64, error) {
	_, rest, ok := bytes.Cut(answer, []byte(`"id":"`))
	digits, _, closed := bytes.Cut(rest, []byte(`"`))
	if !ok || !closed {
		return 0, fmt.Errorf("%w: no id in %.200s", errAnswer, answer)
	}
	id, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: id: %w", errAnswer, err)
	}
	return id, nil
}

// Cancel implements system.System by a request over HTTP.
func (in *installation) Cancel(ctx context.Context, number int64) error {
	in.mu.Lock()
	id, ok := in.waiting[number]
	in.mu.Unlock()
	if !ok {
		return fmt.Errorf("%w: task %d is not known", errAnswer, number)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("%s/v1/tasks/%d/cancel", in.sys.BaseURL(), id), nil)
	if err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+in.client.Key())
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	defer res.Body.Close()
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(res.Body); err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("cancel: %w: %s %.200s", errAnswer, res.Status, answer.Bytes())
	}
	return nil
}
