package openapi

import "github.com/taskweir/taskweir/pkg/apiv1"

const eventStream = "text/event-stream"

var eventOperations = []Operation{
	{Method: get, Path: "/v1/tasks/{id}/events", ID: "followTask", Tag: "Events", Title: "Follow one task", Scope: "read", Ticket: true,
		Text: "Server-sent events: the whole history of the task and what is still to come, until it is final. Ids are `epoch.step`; after a lost connection " +
			"the stream goes on exactly after the header `Last-Event-ID`.",
		Query: []string{"app", "lastEventId", "ticket"}, Answers: []Answer{{Status: 200, Text: "The data of each event is an Event.", Media: eventStream},
			{Status: 204, Text: "The client has seen all of it."}},
		Codes: []string{"task_not_found", "too_many_streams", "stopping"}},

	{Method: get, Path: "/v1/events", ID: "listenEvents", Tag: "Events", Title: "Listen to the events of an app", Scope: "read", Ticket: true,
		Text: "Server-sent events of all tasks, from now on or from after the header `Last-Event-ID` within the last ten minutes. `reset` says that events may be " +
			"missing before it.",
		Query:   []string{"app", "queue", "kind", "type", "lastEventId", "ticket"},
		Answers: []Answer{{Status: 200, Text: "The data of each event is an Event.", Media: eventStream}},
		Codes:   []string{"too_many_streams", "stopping", "live_view_unavailable"}},

	{Method: post, Path: "/v1/events/tickets", ID: "createEventTicket", Tag: "Events", Title: "Make a ticket for one stream", Scope: "read",
		Text:  "For browsers, which cannot send a key with an EventSource: `?ticket=` opens one stream within 60 seconds. Without a body, the whole stream.",
		Query: []string{"app"}, Body: apiv1.TicketFor{}, Reads: Optional, Answers: []Answer{{Status: 201, Text: "The ticket.", Type: apiv1.Ticket{}}},
		Codes: []string{"task_not_found", "live_view_unavailable"}},
}
