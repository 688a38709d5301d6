package openapi

import "net/http"

// Code is a code of problems.
type Code struct {
	Status int
	Means  string
}

// Codes are the problems of the API by their code.
var Codes = map[string]Code{
	"malformed":         {http.StatusBadRequest, "the body is not JSON or not an object, the query string is not well formed, or the cursor is another list's"},
	"too_deep":          {http.StatusBadRequest, "the body is nested deeper than 1,000 levels"},
	"unauthorized":      {http.StatusUnauthorized, "no API key, an unknown or a revoked one"},
	"scope_too_small":   {http.StatusForbidden, "the key's scope does not allow this; the detail names the one that does"},
	"app_disabled":      {http.StatusForbidden, "the app is disabled: none of its keys is taken, and it takes nothing new"},
	"not_found":         {http.StatusNotFound, "there is nothing at this address"},
	"task_not_found":    {http.StatusNotFound, "no such task, or another app's"},
	"attempt_not_found": {http.StatusNotFound, "the task has no such attempt"},

	"schedule_not_found":  {http.StatusNotFound, "no such schedule, or another app's"},
	"queue_not_found":     {http.StatusNotFound, "no such queue: its first task makes it, or PUT /v1/queues/{name}"},
	"limit_key_not_found": {http.StatusNotFound, "nothing is set for the limit key"},
	"worker_not_found":    {http.StatusNotFound, "no such worker, or gone for more than an hour"},
	"app_not_found":       {http.StatusNotFound, "no such app, or one that the key does not see"},
	"api_key_not_found":   {http.StatusNotFound, "the app has no such key"},
	"kind_not_found":      {http.StatusNotFound, "no such kind was declared"},
	"bulk_not_found":      {http.StatusNotFound, "no such bulk operation, or another app's"},
	"method_not_allowed":  {http.StatusMethodNotAllowed, "this address does not answer this method"},

	"unique_key_taken":       {http.StatusConflict, "another task has the unique key; taskId is that task"},
	"idempotency_key_reused": {http.StatusConflict, "the Idempotency-Key was used with another request"},
	"not_retryable":          {http.StatusConflict, "only a failed or cancelled task can be retried, a succeeded one with force"},
	"task_not_final":         {http.StatusConflict, "only a final task can be retried with another payload"},
	"task_succeeded":         {http.StatusConflict, "a succeeded task is only retried with force"},
	"task_not_running":       {http.StatusConflict, "no attempt of the task runs at this moment"},
	"not_waiting":            {http.StatusConflict, "the task does not wait"},
	"not_a_zombie":           {http.StatusConflict, "the task's attempt is no zombie"},
	"epoch_mismatch":         {http.StatusConflict, "another attempt is the newest"},
	"completion_too_late":    {http.StatusConflict, "the time to complete the attempt was over"},
	"task_cancelled":         {http.StatusConflict, "the task was cancelled"},
	"already_ended":          {http.StatusConflict, "the attempt has ended in another way"},
	"not_awaited":            {http.StatusConflict, "no attempt of the task awaits its completion"},
	"attempt_running":        {http.StatusConflict, "the call of the attempt has not been answered yet: answer 202, then ask again"},
	"name_taken":             {http.StatusConflict, "another schedule of the app has the name; scheduleId is that schedule"},
	"schedule_overlap":       {http.StatusConflict, "an earlier run has not ended, and the overlap policy is skip"},
	"slot_failed":            {http.StatusConflict, "no task could be made of the slot"},
	"schedule_paused":        {http.StatusConflict, "a paused schedule has no next slot"},
	"no_next_slot":           {http.StatusConflict, "no slot is left"},
	"version_changed":        {http.StatusConflict, "others change the schedule all the time; nothing was changed"},
	"system_schedule":        {http.StatusConflict, "the schedules of the system app are Taskweir's own"},
	"app_needed":             {http.StatusConflict, "neither the app of the key that asks nor the system's own can be disabled"},
	"app_key_taken":          {http.StatusConflict, "another app has this id"},
	"secret_changed":         {http.StatusConflict, "the app got another secret at the same moment"},
	"test_failed":            {http.StatusConflict, "the worker could not make the test; the detail says why"},

	"precondition_failed": {http.StatusPreconditionFailed, "If-Match names another version than the present one"},
	"payload_too_large":   {http.StatusRequestEntityTooLarge, "the payload is over 256 KiB, or the result over 64 KiB"},
	"request_too_large":   {http.StatusRequestEntityTooLarge, "the request is over 16 MiB"},
	"answer_too_large":    {http.StatusRequestEntityTooLarge, "the tasks hold more than 32 MiB together"},
	"invalid":             {http.StatusUnprocessableEntity, "errors names every field and the rule it breaks"},

	"too_many_bulk_operations": {http.StatusTooManyRequests, "five bulk operations of the app are running"},

	"too_many_waiting": {http.StatusTooManyRequests, "20,000 requests wait for tasks in this process"},
	"too_many_streams": {http.StatusTooManyRequests, "the app has 1,500 open streams in this process, or the process 2,000"},

	"internal":              {http.StatusInternalServerError, "a fault; the server's log has the requestId"},
	"database_unavailable":  {http.StatusServiceUnavailable, "the database cannot be reached; nothing was changed"},
	"overloaded":            {http.StatusServiceUnavailable, "too many large requests at once; nothing was changed"},
	"stopping":              {http.StatusServiceUnavailable, "the process is ending; nothing was changed"},
	"outcome_unknown":       {http.StatusServiceUnavailable, "it may have been done: repeat it with the same Idempotency-Key; what takes none, look at first"},
	"live_view_unavailable": {http.StatusServiceUnavailable, "what workers run right now cannot be read: Redis is gone, or the worker does not answer"},
	"backfill_incomplete":   {http.StatusServiceUnavailable, "some slots were made and no more; the detail says where to go on"},
	"no_worker":             {http.StatusServiceUnavailable, "no worker knows how to make the test, or none made it in time"},
}
