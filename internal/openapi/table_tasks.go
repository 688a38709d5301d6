package openapi

import (
	"net/http"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

const (
	get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete

	plainText = "text/plain; charset=utf-8"
)

// aTask is an answer with the task as it is.
var aTask = Answer{Status: 200, Text: "The task.", Type: apiv1.Task{}}

var taskOperations = []Operation{
	{Method: post, Path: "/v1/tasks", ID: "submitTask", Tag: "Tasks", Title: "Submit a task", Scope: "submit",
		Text:  "Stores a task durably and answers with it. `Idempotency-Key` makes the request safe to repeat.",
		Query: []string{"app"}, Body: apiv1.Submit{}, Reads: Required, Idempotent: true,
		Answers: []Answer{
			{Status: 201, Text: "The new task.", Type: apiv1.Task{}, Replayed: true},
			{Status: 200, Text: "The other task that has the unique key, with `uniqueOnConflict` keep.", Type: apiv1.Task{}, Replayed: true},
		},
		Codes:   []string{"unique_key_taken", "payload_too_large", "outcome_unknown", "stopping"},
		Example: Example{Body: `{"kind":"echo","payload":{"hello":"world"}}`}},

	{Method: post, Path: "/v1/tasks/batch", ID: "submitTasks", Tag: "Tasks", Title: "Submit up to 1,000 tasks", Scope: "submit",
		Text:  "Answers item by item, in order: a task that is refused does not hold up the others.",
		Query: []string{"app"}, Body: apiv1.SubmitBatch{}, Reads: Required, Idempotent: true,
		Answers: []Answer{{Status: 200, Text: "One item for each task.", Type: apiv1.BatchAnswer{}, Replayed: true}},
		Codes:   []string{"outcome_unknown", "stopping"},
		Example: Example{Body: `{"tasks":[{"kind":"echo"},{"kind":"echo"}]}`}},

	{Method: get, Path: "/v1/tasks", ID: "listTasks", Tag: "Tasks", Title: "List tasks", Scope: "read",
		Text:    "Newest first; with `state` scheduled or queued in due order. `ids` gives these tasks in their order and leaves unknown ones out.",
		Query:   []string{"app", "ids", "state", "queue", "kind", "label", "uniqueKey", "from", "to", "limit", "cursor"},
		Answers: []Answer{{Status: 200, Text: "A page of tasks. It may be shorter than `limit`, even empty, and still have a cursor.", Type: apiv1.TaskList{}}},
		Codes:   []string{"answer_too_large"},
		Example: Example{Query: "state=failed&queue=default&limit=10"}},

	{Method: get, Path: "/v1/tasks/{id}", ID: "getTask", Tag: "Tasks", Title: "Read a task", Scope: "read",
		Text:  "The task with its attempts and the verdict: why it is where it is.",
		Query: []string{"app", "wait"}, Answers: []Answer{{Status: 200, Text: "The task.", Type: apiv1.Task{}, ETag: true}},
		Codes: []string{"task_not_found", "too_many_waiting"}, Example: Example{Query: "wait=10s"}},

	{Method: post, Path: "/v1/tasks/{id}/cancel", ID: "cancelTask", Tag: "Tasks", Title: "Cancel a task", Scope: "submit",
		Text:  "Ends a waiting task at once and has a running one stopped by its worker. A task that is final stays as it is.",
		Query: []string{"app", "wait"}, Reads: Empty,
		Answers: []Answer{{Status: 200, Text: "The task, which is final.", Type: apiv1.Task{}}, {Status: 202, Text: "The task still runs.", Type: apiv1.Task{}}},
		Codes:   []string{"task_not_found", "outcome_unknown"}, Example: Example{Query: "wait=2s"}},

	{Method: post, Path: "/v1/tasks/{id}/retry", ID: "retryTask", Tag: "Tasks", Title: "Retry a final task", Scope: "submit",
		Text: "Puts a failed or cancelled task back, with `force` also a succeeded one. With `payload` it makes a new task instead; " +
			"`Idempotency-Key` is honoured then.",
		Query: []string{"app", "force"}, Body: apiv1.RetryTask{}, Reads: Optional, Idempotent: true,
		Answers: []Answer{aTask, {Status: 201, Text: "The new task with the other payload.", Type: apiv1.Task{}, Replayed: true}},
		Codes: []string{"task_not_found", "not_retryable", "task_not_final", "task_succeeded", "unique_key_taken", "payload_too_large", "outcome_unknown",
			"stopping"},
		Example: Example{Body: `{"force":true}`}},

	{Method: post, Path: "/v1/tasks/{id}/run-now", ID: "runTaskNow", Tag: "Tasks", Title: "Run a waiting task now", Scope: "submit",
		Query: []string{"app"}, Reads: Empty, Answers: []Answer{aTask}, Codes: []string{"task_not_found", "not_waiting", "outcome_unknown"},
		Example: Example{ID: "$LATER", Before: `LATER=$(curl -s "$URL/v1/tasks" -H "$AUTH" -d '{"kind":"echo","delayMs":60000}' | first)`}},

	{Method: post, Path: "/v1/tasks/{id}/abandon", ID: "abandonTask", Tag: "Tasks", Title: "Close a zombie's attempt", Scope: "manage",
		Text:  "For a task whose handler ignores that it was cancelled or that its time is over. The handler may go on; what it reports is dropped.",
		Query: []string{"app"}, Reads: Empty, Answers: []Answer{aTask}, Codes: []string{"task_not_found", "not_a_zombie", "outcome_unknown"}},

	{Method: post, Path: "/v1/tasks/{id}/complete", ID: "completeTask", Tag: "Tasks", Title: "Complete a task that its receiver took over", Scope: "submit",
		Text: "Ends an attempt whose call was answered by 202 with `Taskweir-Complete-Within`. The same completion again changes nothing.",
		Body: apiv1.Complete{}, Reads: Required, Query: []string{"app"}, Answers: []Answer{aTask},
		Codes: []string{"task_not_found", "epoch_mismatch", "completion_too_late", "task_cancelled", "already_ended", "not_awaited", "attempt_running",
			"payload_too_large", "outcome_unknown"},
		Example: Example{Body: `{"epoch":1,"outcome":"succeeded","result":{"sent":true}}`}},

	{Method: post, Path: "/v1/tasks/{id}/resend", ID: "resendTask", Tag: "Tasks", Title: "Send once more what a task sends", Scope: "submit",
		Text:  "A final task is retried with force, one that waits is run now.",
		Query: []string{"app"}, Reads: Empty, Answers: []Answer{aTask}, Codes: []string{"task_not_found", "not_waiting", "unique_key_taken", "outcome_unknown"}},

	{Method: get, Path: "/v1/tasks/{id}/attempts/{attempt}", ID: "getAttempt", Tag: "Tasks", Title: "Read an attempt and how its call went", Scope: "read",
		Query: []string{"app"}, Answers: []Answer{{Status: 200, Text: "The attempt.", Type: apiv1.AttemptDetail{}, ETag: true}},
		Codes: []string{"task_not_found", "attempt_not_found"}},

	{Method: get, Path: "/v1/tasks/{id}/log", ID: "getTaskLog", Tag: "Tasks", Title: "Read what an attempt wrote", Scope: "read",
		Text: "Of the running attempt, or the newest that wrote anything; the last 64 KiB are kept. The headers `Taskweir-Attempt` and `Taskweir-Log-From` say whose it is and " +
			"where it begins.",
		Ticket: true, Query: []string{"app", "attempt", "from", "follow", "ticket"}, Answers: []Answer{{Status: 200, Text: "The output as it was written.", Media: plainText}},
		Codes: []string{"task_not_found", "attempt_not_found", "live_view_unavailable", "too_many_streams", "stopping"}},

	{Method: get, Path: "/v1/tasks/{id}/stack", ID: "getTaskStack", Tag: "Tasks", Title: "Look at the stack of a running task", Scope: "read",
		Text:  "Asks the worker that runs the task what it does at this moment.",
		Query: []string{"app"}, Answers: []Answer{{Status: 200, Text: "The goroutines of the attempt.", Type: apiv1.Stack{}}},
		Codes:   []string{"task_not_found", "task_not_running", "live_view_unavailable"},
		Example: Example{ID: "$LONG", Before: `LONG=$(curl -s "$URL/v1/tasks" -H "$AUTH" -d '{"kind":"sleep","payload":{"ms":60000}}' | first); sleep 1`}},
}
