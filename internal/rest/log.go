package rest

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// taskLog gives an attempt's output from a byte on, and with ?follow=true what is still to come.
func (a *api) taskLog(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := pathID(c, "id", "task")
	if err != nil {
		return httpkit.Response{}, err
	}
	var attempt, from int64
	if v, ok := c.Query("attempt"); ok {
		n, err := apiv1.ParseID(v)
		if err != nil {
			return httpkit.Response{}, task.InvalidField("attempt", "format", "must be the id of an attempt")
		}
		attempt = int64(n)
	}
	if v, ok := c.Query("from"); ok {
		if from, err = strconv.ParseInt(v, 10, 64); err != nil || from < 0 {
			return httpkit.Response{}, task.InvalidField("from", "format", "must be a number of bytes")
		}
	}
	follow, err := flag(c, "follow")
	if err != nil {
		return httpkit.Response{}, err
	}
	if c.Method() == http.MethodHead {
		follow = false
	}
	l, err := a.svc.OpenLog(ctx, c.who, id, attempt, from, follow)
	if err != nil {
		return httpkit.Response{}, err
	}
	c.SetHeader(apiv1.HeaderLogFrom, strconv.FormatInt(l.From, 10))
	if l.Attempt != 0 {
		c.SetHeader(apiv1.HeaderAttempt, strconv.FormatInt(l.Attempt, 10))
	}
	if !follow {
		defer l.Close()
		piece, _, err := l.Next(ctx, 0)
		return httpkit.Response{Status: http.StatusOK, ContentType: "text/plain; charset=utf-8", Body: piece}, err
	}
	stream := func(ctx context.Context, w *httpkit.Stream) error {
		defer l.Close()
		may := a.watchKey(c)
		for {
			piece, over, err := l.Next(ctx, min(heartbeat, a.recheck))
			if len(piece) > 0 {
				if err := w.Write(piece); err != nil {
					return err
				}
			}
			switch {
			case err != nil:
				return fmt.Errorf("%w: %w", httpkit.ErrIncomplete, err)
			case over:
				return nil
			case !may(ctx):
				return httpkit.ErrIncomplete
			}
		}
	}
	return httpkit.Response{Status: http.StatusOK, ContentType: "text/plain; charset=utf-8", Stream: stream}, nil
}
