package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/events"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

const (
	eventStream = "text/event-stream; charset=utf-8"
	heartbeat   = 15 * time.Second // of silence, after which a stream says that it is there
	recheck     = 15 * time.Second // how often a stream's key is looked at unless Options say otherwise: a revoked one ends it
	ticketLife  = time.Hour        // how long a stream may last that a ticket opened
)

// The hints that a stream begins with: how long a browser waits before it connects again.
var (
	hello = []byte("retry: 2000\n\n")
	beat  = []byte(":\n\n")
)

// AppendEvent appends an event of the whole stream as it is sent; with a nil change a reset. It is the hub's encoder.
func AppendEvent(b []byte, id string, c *task.Change, n *events.Names) []byte {
	if c == nil {
		return appendFrame(b, &apiv1.Event{ID: id, Type: apiv1.EventReset}, true)
	}
	e := eventOf(c)
	e.ID, e.App, e.Kind, e.Queue = id, n.App, n.Kind, n.Queue
	return appendFrame(b, &e, true)
}

// eventOf is a change as the API shows it, without its id and names.
func eventOf(c *task.Change) apiv1.Event {
	e := apiv1.Event{At: apiv1.Time(c.At), Task: apiv1.ID(c.TaskID), Epoch: int(c.Epoch), Outcome: c.Outcome.String(), Reason: c.Reason.String(),
		Worker: apiv1.ID(c.WorkerID), DueAt: apiv1.Time(c.DueAt)}
	if c.State != task.Waiting || c.DueAt != 0 { // else it is not known any more when it was due
		e.State = c.State.Shown(c.DueAt, c.At)
	}
	if c.ErrCode != "" || c.ErrMessage != "" {
		e.Error = &apiv1.TaskError{Code: c.ErrCode, Message: c.ErrMessage, HTTPStatus: int(c.HTTPStatus)}
	}
	switch c.Type {
	case task.ChangeSubmitted:
		e.Type = apiv1.EventSubmitted
	case task.ChangeStarted:
		e.Type = apiv1.EventStarted
	case task.ChangeRetrying:
		e.Type = apiv1.EventRetrying
	case task.ChangeEnded:
		e.Type = c.State.Shown(0, 0)
	}
	return e
}

// appendFrame appends a server-sent event. What has no id leaves the client's Last-Event-ID as it is.
func appendFrame(b []byte, e *apiv1.Event, id bool) []byte {
	if id {
		b = append(append(append(b, "id: "...), e.ID...), '\n')
	}
	b = append(append(append(b, "event: "...), e.Type...), "\ndata: "...)
	return append(e.AppendJSON(b), "\n\n"...)
}

func appendTaskEvent(b []byte, t *control.TaskEvent) []byte {
	e := eventOf(&t.Change)
	e.ID, e.App, e.Kind, e.Queue = t.Step.String(), t.App, t.Kind, t.Queue
	if t.Progress != nil {
		e.Type, e.Progress = apiv1.EventProgress, oneLine(t.Progress)
	}
	return appendFrame(b, &e, t.Progress == nil)
}

// oneLine takes the line breaks out of JSON, which would end the data of an event. Workers send none; what comes by way of Redis may.
func oneLine(raw json.RawMessage) json.RawMessage {
	if !bytes.ContainsAny(raw, "\r\n") {
		return raw
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return nil
	}
	return b.Bytes()
}

// lastEventID is where the client stopped: the header that browsers send when they connect again, or ?lastEventId=, which a page
// can set.
func lastEventID(c call) string {
	if id := c.Header("Last-Event-ID"); id != "" {
		return id
	}
	id, _ := c.Query("lastEventId")
	return id
}

// taskEvents streams one task. A client that has seen all of it is told so by 204, after which browsers do not connect again.
func (a *api) taskEvents(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := pathID(c, "id", "task")
	if err != nil {
		return httpkit.Response{}, err
	}
	st, over, err := a.svc.FollowTask(ctx, c.who, id, lastEventID(c))
	if err != nil || over {
		return httpkit.Response{Status: http.StatusNoContent}, err
	}
	if c.Method() == http.MethodHead {
		st.Close()
	}
	stream := func(ctx context.Context, w *httpkit.Stream) error {
		defer st.Close()
		return a.pump(ctx, c, w, func(ctx context.Context, wait time.Duration) ([][]byte, bool, error) {
			list, over, err := st.Next(ctx, wait)
			var b []byte
			for i := range list {
				b = appendTaskEvent(b, &list[i])
			}
			if b == nil {
				return nil, over, err
			}
			return [][]byte{b}, over, err
		})
	}
	return httpkit.Response{Status: http.StatusOK, ContentType: eventStream, Stream: stream}, nil
}

// allEvents streams the events of an app.
func (a *api) allEvents(ctx context.Context, c call) (httpkit.Response, error) {
	var f control.EventFilter
	for _, x := range []struct {
		name string
		to   *string
	}{{"queue", &f.Queue}, {"kind", &f.Kind}} {
		if v, ok := c.Query(x.name); ok {
			if *x.to = v; v == "" {
				return httpkit.Response{}, task.InvalidField(x.name, "length", "must not be empty")
			}
		}
	}
	if v, ok := c.Query("type"); ok {
		f.Types = strings.Split(v, ",")
	}
	st, err := a.svc.ListenEvents(ctx, c.who, f, lastEventID(c))
	if err != nil {
		return httpkit.Response{}, err
	}
	if c.Method() == http.MethodHead {
		st.Close()
	}
	stream := func(ctx context.Context, w *httpkit.Stream) error {
		defer st.Close()
		return a.pump(ctx, c, w, func(ctx context.Context, wait time.Duration) ([][]byte, bool, error) {
			out, err := st.Next(ctx, wait)
			return out, false, err
		})
	}
	return httpkit.Response{Status: http.StatusOK, ContentType: eventStream, Stream: stream}, nil
}

// pump writes what next gives until it is over, with a heartbeat in silence. It looks at the credential again and again: a stream
// does not outlive its key.
func (a *api) pump(ctx context.Context, c call, w *httpkit.Stream, next func(context.Context, time.Duration) ([][]byte, bool, error)) error {
	if err := w.Write(hello); err != nil {
		return err
	}
	may := a.watchKey(c)
	for {
		out, over, err := next(ctx, min(heartbeat, a.recheck))
		if len(out) > 0 {
			if err := w.Write(out...); err != nil {
				return err
			}
		}
		switch {
		case over || err != nil:
			return err
		case len(out) == 0:
			if err := w.Write(beat); err != nil {
				return err
			}
		}
		if !may(ctx) {
			return nil
		}
	}
}

// watchKey gives what reports whether the credential of a stream is still good, and looks now and then. While the database is away it
// is. A stream that a ticket opened ends with the key that the ticket was made with, and after an hour.
func (a *api) watchKey(c call) func(context.Context) bool {
	began := time.Now()
	checked := began
	return func(ctx context.Context) bool {
		now := time.Now()
		if now.Sub(checked) < a.recheck {
			return true
		}
		checked = now
		var err error
		if c.ticket {
			if now.Sub(began) >= ticketLife {
				return false
			}
			err = a.svc.StillGood(ctx, c.who)
		} else {
			_, err = a.svc.Authenticate(ctx, c.Bearer())
		}
		return err == nil || task.KindOf(err) != task.Unauthorized && task.KindOf(err) != task.Forbidden
	}
}

// newTicket makes a ticket, for the whole stream or for {"task": "17"}.
func (a *api) newTicket(ctx context.Context, c call) (httpkit.Response, error) {
	var id int64
	if err := body(c, true, func(s *httpkit.Scanner, key []byte) {
		if string(key) != "task" {
			s.Unknown()
			return
		}
		text, ok := s.String()
		if !ok {
			return
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n <= 0 {
			s.Break("format", "must be the id of a task")
		}
		id = n
	}); err != nil {
		return httpkit.Response{}, err
	}
	text, at, err := a.svc.NewTicket(ctx, c.who, id)
	if err != nil {
		return httpkit.Response{}, err
	}
	return httpkit.JSON(http.StatusCreated, apiv1.Ticket{Ticket: text, ExpiresAt: apiv1.Time(at)})
}

// withTicket authenticates a request by its ticket.
func (a *api) withTicket(ctx context.Context, r *httpkit.Request, text string) (control.Principal, error) {
	var id int64
	if text := r.Param("id"); text != "" {
		n, err := apiv1.ParseID(text)
		if err != nil {
			return control.Principal{}, task.Missing("task")
		}
		id = int64(n)
	}
	return a.svc.UseTicket(ctx, text, id)
}

// credential authenticates a request: by ?ticket= where the route takes one and one is given, else by its key.
func (a *api) credential(ctx context.Context, r *httpkit.Request, takesTicket bool) (who control.Principal, ticket bool, err error) {
	if takesTicket {
		if text, given := r.Query("ticket"); given {
			who, err = a.withTicket(ctx, r, text)
			return who, true, err
		}
	}
	who, err = a.svc.Authenticate(ctx, r.Bearer())
	return who, false, err
}
