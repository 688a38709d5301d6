package openapi

import "github.com/taskweir/taskweir/pkg/apiv1"

var limitOperations = []Operation{
	{Method: put, Path: "/v1/queues/{name}", ID: "putQueue", Tag: "Queues", Title: "Make or limit a queue", Scope: "manage",
		Text:  "Limits hold for all apps together, from the answer on, and over the queue's priorities. What is left out is the default: no limits, not paused. What runs goes on.",
		Query: []string{"app"}, Body: apiv1.QueueUpdate{}, Reads: Required, Answers: []Answer{{Status: 200, Text: "The queue.", Type: apiv1.Queue{}}},
		Example: Example{Body: `{"limits":{"rate":{"tasks":50},"concurrency":20}}`}},

	{Method: get, Path: "/v1/limit-keys", ID: "listLimitKeys", Tag: "Limit keys", Title: "List limit keys", Scope: "read",
		Text: "Those of the app for which something is set, by name.", Query: []string{"app", "limit", "cursor"},
		Answers: []Answer{{Status: 200, Text: "A page of limit keys.", Type: apiv1.List[apiv1.LimitKey]{}, ETag: true}}},

	{Method: get, Path: "/v1/limit-keys/{key}", ID: "getLimitKey", Tag: "Limit keys", Title: "Read a limit key", Scope: "read", Query: []string{"app"},
		Answers: []Answer{{Status: 200, Text: "The limit key.", Type: apiv1.LimitKey{}, ETag: true}}, Codes: []string{"limit_key_not_found"},
		Example: Example{Before: limitKeyMade}},

	{Method: put, Path: "/v1/limit-keys/{key}", ID: "putLimitKey", Tag: "Limit keys", Title: "Limit tasks that share a key", Scope: "manage",
		Text:  "Holds for the tasks of the app that carry the key as limitKey, over all queues, from the answer on. What is left out is the default.",
		Query: []string{"app"}, Body: apiv1.LimitKeyUpdate{}, Reads: Required, Answers: []Answer{{Status: 200, Text: "The limit key.", Type: apiv1.LimitKey{}}},
		Example: Example{Body: `{"limits":{"concurrency":3}}`}},

	{Method: post, Path: "/v1/limit-keys/{key}/pause", ID: "pauseLimitKey", Tag: "Limit keys", Title: "Pause a limit key", Scope: "manage",
		Text: "Nothing new of the key starts; what runs goes on.", Query: []string{"app"}, Reads: Empty,
		Answers: []Answer{{Status: 200, Text: "The limit key.", Type: apiv1.LimitKey{}}}},

	{Method: post, Path: "/v1/limit-keys/{key}/resume", ID: "resumeLimitKey", Tag: "Limit keys", Title: "Resume a limit key", Scope: "manage", Query: []string{"app"},
		Reads: Empty, Answers: []Answer{{Status: 200, Text: "The limit key.", Type: apiv1.LimitKey{}}}},

	{Method: del, Path: "/v1/limit-keys/{key}", ID: "deleteLimitKey", Tag: "Limit keys", Title: "Forget the limits of a key", Scope: "manage",
		Text: "Its tasks go on without.", Query: []string{"app"}, Answers: []Answer{{Status: 204, Text: "They are forgotten."}}, Codes: []string{"limit_key_not_found"},
		Example: Example{Before: limitKeyMade}},
}

// limitKeyMade makes the key that the examples read.
const limitKeyMade = `curl -s -X PUT "$URL/v1/limit-keys/customer-7" -H "$AUTH" -d '{"limits":{"concurrency":3}}' >/dev/null`
