package httpcall

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

// completion is the dialect of the deliveries that tell a completionUrl how a task ended. The store makes these tasks.
type completion struct{}

// NewCompletion makes the runner of kind completion: the event is POSTed to the URL that its payload names, signed with the app's
// secret as Standard Webhooks say. The webhook id is the delivery's own, the same for its retries.
func NewCompletion(o Options, apps Apps, box Opener) *Callback {
	return NewCallbackKind(o, apps, box, completion{})
}

func (completion) Kind() string { return task.CompletionKind }

func (completion) Build(_ Target, job worker.Job, _ time.Time) (Call, error) {
	var p struct {
		URL   string          `json:"url"`
		Event json.RawMessage `json:"event"`
	}
	if err := json.Unmarshal(job.Payload, &p); err != nil || p.URL == "" || len(p.Event) == 0 {
		return Call{}, errors.New("is not a delivery")
	}
	h := make(http.Header, 10)
	h["Content-Type"] = jsonType
	return Call{URL: p.URL, Header: h, Body: p.Event}, nil
}

// Judge takes every 2xx for a success and keeps no result: nobody waits for one.
func (completion) Judge(a Answer) task.Result {
	res := judge(&a)
	res.AwaitMs, res.Body, res.Truncated = 0, nil, false
	return res
}

// CheckCompletion refuses every payload: tasks of kind completion are made by Taskweir alone.
func CheckCompletion([]byte) []task.FieldError {
	return []task.FieldError{{Rule: "not_allowed", Message: "cannot be given: tasks of kind " + task.CompletionKind + " are made by Taskweir alone"}}
}
