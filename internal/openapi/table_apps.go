package openapi

import "github.com/taskweir/taskweir/pkg/apiv1"

var appOperations = []Operation{
	{Method: get, Path: "/v1/apps", ID: "listApps", Tag: "Apps", Title: "List apps", Scope: "read", Text: "Newest first. An admin sees all, others their own.",
		Query: []string{"limit", "cursor"}, Answers: []Answer{{Status: 200, Text: "A page of apps.", Type: apiv1.List[apiv1.App]{}}}},

	{Method: post, Path: "/v1/apps", ID: "createApp", Tag: "Apps", Title: "Make an app", Scope: "admin", Body: apiv1.AppCreate{}, Reads: Required,
		Answers: []Answer{{Status: 201, Text: "The app with its signing secret, which is shown this once.", Type: apiv1.App{}}}, Codes: []string{"app_key_taken"},
		Example: Example{Body: `{"name":"billing","callbackUrl":"https://example.com/hooks"}`}},

	{Method: get, Path: "/v1/apps/{app}", ID: "getApp", Tag: "Apps", Title: "Read an app", Scope: "read",
		Answers: []Answer{{Status: 200, Text: "The app.", Type: apiv1.App{}, ETag: true}}, Codes: []string{"app_not_found"}},

	{Method: patch, Path: "/v1/apps/{app}", ID: "updateApp", Tag: "Apps", Title: "Change an app", Scope: "admin", Text: "What is left out stays as it is.",
		Body: apiv1.AppPatch{}, Reads: Required, IfMatch: true, Answers: []Answer{{Status: 200, Text: "The app.", Type: apiv1.App{}, ETag: true}},
		Codes: []string{"app_not_found", "app_needed"}, Example: Example{Body: `{"weight":3}`}},

	{Method: post, Path: "/v1/apps/{app}/secret", ID: "rotateSecret", Tag: "Apps", Title: "Make a new signing secret", Scope: "admin",
		Text:  "With `overlapMs` the old one goes on signing beside it for that long; else it ends.",
		Query: []string{"overlapMs"}, Reads: Empty, Answers: []Answer{{Status: 200, Text: "The app with the new secret, which is shown this once.", Type: apiv1.App{}}},
		Codes: []string{"app_not_found", "secret_changed"}},

	{Method: post, Path: "/v1/apps/{app}/test-callback", ID: "testCallback", Tag: "Apps", Title: "Try an app's receiver out", Scope: "manage",
		Text:  "Has a worker call it as a callback would, also with a forged signature, and explains what it did wrong.",
		Query: []string{"kind"}, Reads: Empty, Answers: []Answer{{Status: 200, Text: "What was found.", Type: apiv1.CallbackTest{}}},
		Codes: []string{"app_not_found", "test_failed", "no_worker", "too_many_waiting", "outcome_unknown", "stopping"}},

	{Method: get, Path: "/v1/apps/{app}/keys", ID: "listKeys", Tag: "Apps", Title: "List an app's API keys", Scope: "admin", Text: "Newest first, revoked ones too.",
		Query: []string{"limit", "cursor"}, Answers: []Answer{{Status: 200, Text: "A page of keys.", Type: apiv1.List[apiv1.Key]{}}}, Codes: []string{"app_not_found"}},

	{Method: post, Path: "/v1/apps/{app}/keys", ID: "createKey", Tag: "Apps", Title: "Make an API key", Scope: "admin", Body: apiv1.KeyCreate{}, Reads: Required,
		Answers: []Answer{{Status: 201, Text: "The key, which is shown this once.", Type: apiv1.Key{}}}, Codes: []string{"app_not_found"},
		Example: Example{Body: `{"name":"web","scope":"submit"}`}},

	{Method: del, Path: "/v1/apps/{app}/keys/{key}", ID: "revokeKey", Tag: "Apps", Title: "Revoke an API key", Scope: "admin",
		Text:    "Refused at once here, within 5 s by other processes.",
		Answers: []Answer{{Status: 204, Text: "It is revoked, or was."}}, Codes: []string{"app_not_found", "api_key_not_found"}},
}

// pageOperations need no credential.
var pageOperations = []Operation{
	{Method: get, Path: "/healthz", ID: "health", Tag: "Operations", Title: "Say that the process answers",
		Answers: []Answer{{Status: 200, Text: "It does.", Type: apiv1.Health{}}}},
	{Method: get, Path: "/readyz", ID: "ready", Tag: "Operations", Title: "Say whether the process is ready", Text: "Names what is missing.",
		Answers: []Answer{{Status: 200, Text: "It is ready.", Type: apiv1.Health{}}, {Status: 503, Text: "It is not.", Type: apiv1.Health{}}}},
	{Method: get, Path: "/metrics", ID: "metrics", Tag: "Operations", Title: "Read the metrics", Text: "In the format of Prometheus.",
		Answers: []Answer{{Status: 200, Text: "The metrics.", Media: "text/plain"}}},
	{Method: get, Path: "/openapi.json", ID: "openapi", Tag: "Operations", Title: "Read this document",
		Answers: []Answer{{Status: 200, Text: "OpenAPI 3.1.", Media: "application/json", ETag: true}}},
	{Method: get, Path: "/docs", ID: "docs", Tag: "Operations", Title: "Read this document as a page",
		Answers: []Answer{{Status: 200, Text: "HTML.", Media: "text/html; charset=utf-8", ETag: true}}},
}
