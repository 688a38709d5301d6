package openapi

import "github.com/taskweir/taskweir/pkg/apiv1"

// aSchedule is an answer with the schedule as it is.
var aSchedule = Answer{Status: 200, Text: "The schedule.", Type: apiv1.Schedule{}, ETag: true}

var scheduleOperations = []Operation{
	{Method: post, Path: "/v1/schedules", ID: "createSchedule", Tag: "Schedules", Title: "Make a schedule", Scope: "manage",
		Query: []string{"app"}, Body: apiv1.ScheduleInput{}, Reads: Required, Idempotent: true,
		Answers: []Answer{{Status: 201, Text: "The new schedule.", Type: apiv1.Schedule{}, ETag: true, Replayed: true}},
		Codes:   []string{"name_taken", "system_schedule", "payload_too_large"},
		Example: Example{Body: `{"name":"nightly","spec":{"cron":"30 2 * * *"},"task":{"kind":"echo","payload":"{{slot}}"}}`}},

	{Method: get, Path: "/v1/schedules", ID: "listSchedules", Tag: "Schedules", Title: "List schedules", Scope: "read",
		Text: "Newest first.", Query: []string{"app", "name", "paused", "limit", "cursor"},
		Answers: []Answer{{Status: 200, Text: "A page of schedules.", Type: apiv1.List[apiv1.Schedule]{}}},
		Example: Example{Query: "paused=false"}},

	{Method: post, Path: "/v1/schedules/preview", ID: "previewSchedule", Tag: "Schedules", Title: "Say when a schedule would fire", Scope: "read",
		Text: "Nothing is stored.", Body: apiv1.SchedulePreview{}, Reads: Required,
		Answers: []Answer{{Status: 200, Text: "What it does in words, and its next fire times.", Type: apiv1.Preview{}}},
		Example: Example{Body: `{"spec":{"cron":"30 2 * * *"},"zone":"Europe/Berlin"}`}},

	{Method: get, Path: "/v1/schedules/{id}", ID: "getSchedule", Tag: "Schedules", Title: "Read a schedule", Scope: "read",
		Query: []string{"app"}, Answers: []Answer{aSchedule}, Codes: []string{"schedule_not_found"}},

	{Method: put, Path: "/v1/schedules/{id}", ID: "replaceSchedule", Tag: "Schedules", Title: "Replace a schedule", Scope: "manage",
		Text:  "What is left out takes its default; only `paused` stays as it is. It acts from the next slot on.",
		Query: []string{"app"}, Body: apiv1.ScheduleInput{}, Reads: Required, IfMatch: true, Answers: []Answer{aSchedule},
		Codes:   []string{"schedule_not_found", "name_taken", "system_schedule", "version_changed", "payload_too_large"},
		Example: Example{Body: `{"name":"hourly","spec":{"cron":"@daily"},"task":{"kind":"echo"}}`}},

	{Method: del, Path: "/v1/schedules/{id}", ID: "deleteSchedule", Tag: "Schedules", Title: "Delete a schedule", Scope: "manage",
		Text:  "What it started goes on.",
		Query: []string{"app"}, Reads: Empty, IfMatch: true, Answers: []Answer{{Status: 204, Text: "It is gone."}},
		Codes: []string{"schedule_not_found", "system_schedule", "version_changed"}},

	{Method: post, Path: "/v1/schedules/{id}/pause", ID: "pauseSchedule", Tag: "Schedules", Title: "Pause a schedule", Scope: "manage",
		Query: []string{"app"}, Reads: Empty, IfMatch: true, Answers: []Answer{aSchedule}, Codes: []string{"schedule_not_found", "version_changed"}},

	{Method: post, Path: "/v1/schedules/{id}/resume", ID: "resumeSchedule", Tag: "Schedules", Title: "Resume a schedule", Scope: "manage",
		Text:  "Its first slot is the first one later than now.",
		Query: []string{"app"}, Reads: Empty, IfMatch: true, Answers: []Answer{aSchedule}, Codes: []string{"schedule_not_found", "version_changed"}},

	{Method: post, Path: "/v1/schedules/{id}/trigger", ID: "triggerSchedule", Tag: "Schedules", Title: "Run a schedule's task now", Scope: "manage",
		Text:  "Beside the planned slots, and also while it is paused. The overlap policy decides as it does about them.",
		Query: []string{"app"}, Reads: Empty, Idempotent: true,
		Answers: []Answer{
			{Status: 201, Text: "The slot, with its task.", Type: apiv1.Slot{}, Replayed: true},
			{Status: 202, Text: "The slot waits for an earlier run.", Type: apiv1.Slot{}, Replayed: true},
		},
		Codes: []string{"schedule_not_found", "schedule_overlap", "slot_failed", "version_changed"}},

	{Method: post, Path: "/v1/schedules/{id}/skip-next", ID: "skipNextSlot", Tag: "Schedules", Title: "Skip the next slot", Scope: "manage",
		Text:  "Called again it skips the one after.",
		Query: []string{"app"}, Reads: Empty, IfMatch: true, Answers: []Answer{{Status: 200, Text: "The slot that was taken out.", Type: apiv1.Slot{}}},
		Codes: []string{"schedule_not_found", "schedule_paused", "no_next_slot", "version_changed"}},

	{Method: post, Path: "/v1/schedules/{id}/backfill", ID: "backfillSchedule", Tag: "Schedules", Title: "Run the slots of a past range", Scope: "manage",
		Text:  "Once more for every planned slot of [from, to), whether it fired or not: at most 1,000.",
		Query: []string{"app"}, Body: apiv1.BackfillRange{}, Reads: Required, Idempotent: true,
		Answers: []Answer{
			{Status: 201, Text: "The slots that were made.", Type: apiv1.Backfill{}, Replayed: true},
			{Status: 200, Text: "The range has no slots.", Type: apiv1.Backfill{}},
		},
		Codes:   []string{"schedule_not_found", "system_schedule", "version_changed", "backfill_incomplete"},
		Example: Example{Body: `{"from":"2026-01-01T00:00:00Z","to":"2026-01-08T00:00:00Z"}`}},

	{Method: get, Path: "/v1/schedules/{id}/slots", ID: "listSlots", Tag: "Schedules", Title: "List what became of the slots", Scope: "read",
		Text: "Newest slot first.", Query: []string{"app", "from", "to", "outcome", "limit", "cursor"},
		Answers: []Answer{{Status: 200, Text: "A page of slots.", Type: apiv1.List[apiv1.Slot]{}}}, Codes: []string{"schedule_not_found"},
		Example: Example{Query: "outcome=fired"}},

	{Method: get, Path: "/v1/schedules/{id}/preview", ID: "previewStoredSchedule", Tag: "Schedules", Title: "Say when a schedule fires next", Scope: "read",
		Text: "With the jitter of each slot, and without those that were skipped.", Query: []string{"app", "count", "from"},
		Answers: []Answer{{Status: 200, Text: "What it does in words, and its next fire times.", Type: apiv1.Preview{}}}, Codes: []string{"schedule_not_found"},
		Example: Example{Query: "count=10"}},
}
