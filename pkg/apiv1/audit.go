package apiv1

import "encoding/json"

// AuditEntry is one change that somebody made: GET /v1/audit. Submits are not listed: a task says itself who submitted it.
type AuditEntry struct {
	ID      ID              `json:"id"`
	At      Time            `json:"at"`
	App     string          `json:"app"` // whose thing was changed; "" for what belongs to none (workers, kinds)
	Actor   Actor           `json:"actor"`
	Action  string          `json:"action"` // stable: queue.pause, app.update, task.cancel, key.create …
	Target  string          `json:"target"` // what was changed: an id or a name
	Before  json.RawMessage `json:"before"` // null when there was nothing or it was not a definition
	After   json.RawMessage `json:"after"`  // null when nothing is left
	Request string          `json:"requestId,omitempty"`
}

// Actor is who made a change.
type Actor struct {
	App     string `json:"app"`               // of the credential
	Key     ID     `json:"key"`               // its API key; null for a legacy signature, a command on the machine
	KeyName string `json:"keyName,omitempty"` //
	Scope   string `json:"scope,omitempty"`   //
	Surface string `json:"surface"`           // v1, goodjob, serendipity, cli
	Address string `json:"address,omitempty"` // where the request came from
}
