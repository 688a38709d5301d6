package openapi

import "github.com/taskweir/taskweir/pkg/apiv1"

var operateOperations = []Operation{
	{Method: get, Path: "/v1/kinds/{name}", ID: "getKind", Tag: "Kinds", Title: "Read a kind", Scope: "read",
		Answers: []Answer{{Status: 200, Text: "The kind.", Type: apiv1.Kind{}, ETag: true}}, Codes: []string{"kind_not_found"}},

	{Method: get, Path: "/v1/stats", ID: "getStats", Tag: "Statistics", Title: "Count what happened", Scope: "read",
		Text: "By step and, with `by`, by queue, app or kind; steps in which nothing happened are left out. Minutes are kept for 8 days, hours for 100, days for 800. " +
			"An answer has 1,500 steps and 10,000 figures at most. The system app's own tasks count only where `app` names it.",
		Query: []string{"app", "from", "to", "stepMs", "by"}, Answers: []Answer{{Status: 200, Text: "The figures.", Type: apiv1.Stats{}}},
		Example: Example{Query: "by=queue&stepMs=60000"}},

	{Method: get, Path: "/v1/audit", ID: "listAudit", Tag: "Audit", Title: "List changes", Scope: "manage",
		Text:  "Newest first: what was changed of the key's app; an admin who names no `app` sees everything. Submits are not among it: a task says itself who submitted it. Entries are kept for 90 days.",
		Query: []string{"app", "action", "target", "from", "to", "limit", "cursor"}, Answers: []Answer{{Status: 200, Text: "A page of entries.", Type: apiv1.List[apiv1.AuditEntry]{}}},
		Example: Example{Query: "action=queue.pause"}},

	{Method: post, Path: "/v1/bulk", ID: "createBulk", Tag: "Bulk operations", Title: "Change many tasks", Scope: "submit",
		Text: "Cancels, retries or deletes what is there now of the app and what the filter chooses, in the background: nothing that comes later is chosen, each task is changed once. " +
			"Deleting needs scope `manage`. Five operations of an app run at once.",
		Query: []string{"app"}, Body: apiv1.BulkCreate{}, Reads: Required, Idempotent: true,
		Answers: []Answer{{Status: 202, Text: "The operation.", Type: apiv1.Bulk{}, Replayed: true}}, Codes: []string{"too_many_bulk_operations"},
		Example: Example{Body: `{"action":"cancel","filter":{"state":"queued","queue":"default"},"dryRun":true}`}},

	{Method: get, Path: "/v1/bulk", ID: "listBulk", Tag: "Bulk operations", Title: "List bulk operations", Scope: "read", Text: "Newest first. They are kept for 30 days after their end.",
		Query: []string{"app", "limit", "cursor"}, Answers: []Answer{{Status: 200, Text: "A page of operations.", Type: apiv1.List[apiv1.Bulk]{}}}},

	{Method: get, Path: "/v1/bulk/{id}", ID: "getBulk", Tag: "Bulk operations", Title: "See how far a bulk operation is", Scope: "read", Query: []string{"app"},
		Answers: []Answer{{Status: 200, Text: "The operation.", Type: apiv1.Bulk{}, ETag: true}}, Codes: []string{"bulk_not_found"}},

	{Method: post, Path: "/v1/bulk/{id}/stop", ID: "stopBulk", Tag: "Bulk operations", Title: "Stop a bulk operation", Scope: "submit",
		Text:  "What it has done stays done. One that is over stays as it is. Needs the scope that beginning it needed.",
		Query: []string{"app"}, Reads: Empty, Answers: []Answer{{Status: 200, Text: "The operation.", Type: apiv1.Bulk{}}}, Codes: []string{"bulk_not_found"}},
}
