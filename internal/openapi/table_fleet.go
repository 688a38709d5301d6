package openapi

import "github.com/taskweir/taskweir/pkg/apiv1"

var fleetOperations = []Operation{
	{Method: get, Path: "/v1/kinds", ID: "listKinds", Tag: "Kinds", Title: "List kinds", Scope: "read", Text: "By name.", Query: []string{"limit", "cursor"},
		Answers: []Answer{{Status: 200, Text: "A page of kinds.", Type: apiv1.List[apiv1.Kind]{}}}},

	{Method: put, Path: "/v1/kinds/{name}", ID: "declareKind", Tag: "Kinds", Title: "Declare a kind", Scope: "manage",
		Text:  "Its tasks are accepted from then on, also before any worker runs it. A kind stays declared.",
		Reads: Empty, Answers: []Answer{{Status: 200, Text: "The kind.", Type: apiv1.Kind{}}}},

	{Method: get, Path: "/v1/queues", ID: "listQueues", Tag: "Queues", Title: "List queues", Scope: "read",
		Text: "By name. The numbers are those of the app's own tasks.", Query: []string{"app", "limit", "cursor"},
		Answers: []Answer{{Status: 200, Text: "A page of queues.", Type: apiv1.List[apiv1.Queue]{}}}},

	{Method: get, Path: "/v1/queues/{name}", ID: "getQueue", Tag: "Queues", Title: "Read a queue", Scope: "read", Query: []string{"app"},
		Answers: []Answer{{Status: 200, Text: "The queue.", Type: apiv1.Queue{}, ETag: true}}, Codes: []string{"queue_not_found"}},

	{Method: post, Path: "/v1/queues/{name}/pause", ID: "pauseQueue", Tag: "Queues", Title: "Pause a queue", Scope: "manage",
		Text:  "Nothing new starts, for every app; what runs goes on.",
		Query: []string{"app"}, Reads: Empty, Answers: []Answer{{Status: 200, Text: "The queue.", Type: apiv1.Queue{}}}, Codes: []string{"queue_not_found"}},

	{Method: post, Path: "/v1/queues/{name}/resume", ID: "resumeQueue", Tag: "Queues", Title: "Resume a queue", Scope: "manage",
		Query: []string{"app"}, Reads: Empty, Answers: []Answer{{Status: 200, Text: "The queue.", Type: apiv1.Queue{}}}, Codes: []string{"queue_not_found"}},

	{Method: get, Path: "/v1/workers", ID: "listWorkers", Tag: "Workers", Title: "List workers", Scope: "read", Text: "Newest first.",
		Query: []string{"all", "limit", "cursor"}, Answers: []Answer{{Status: 200, Text: "A page of workers.", Type: apiv1.List[apiv1.Worker]{}}},
		Example: Example{Query: "all=true"}},

	{Method: get, Path: "/v1/workers/{id}", ID: "getWorker", Tag: "Workers", Title: "Read a worker and what it is running", Scope: "read",
		Answers: []Answer{{Status: 200, Text: "The worker.", Type: apiv1.Worker{}, ETag: true}}, Codes: []string{"worker_not_found", "live_view_unavailable"}},

	{Method: post, Path: "/v1/workers/{id}/drain", ID: "drainWorker", Tag: "Workers", Title: "Drain a worker", Scope: "manage",
		Text:  "It takes nothing new, finishes or hands back what it runs, and ends.",
		Reads: Empty, Answers: []Answer{{Status: 200, Text: "The worker.", Type: apiv1.Worker{}}}, Codes: []string{"worker_not_found"}},
}
