package openapi

import "strings"

// Param is a parameter of the path or the query.
type Param struct {
	Text   string
	Schema *Schema
}

func enum(names ...string) []any {
	var out []any
	for _, n := range names {
		out = append(out, n)
	}
	return out
}

func text(lo, hi int) *Schema {
	s := &Schema{Type: Types{"string"}, MaxLength: &hi}
	if lo > 0 {
		s.MinLength = &lo
	}
	return s
}

func number(lo, hi float64, byDefault any) *Schema {
	a, z := Number(lo), Number(hi)
	return &Schema{Type: Types{"integer"}, Minimum: &a, Maximum: &z, Default: byDefault}
}

func matching(p string) *Schema { return &Schema{Type: Types{"string"}, Pattern: p} }

func choice(names ...string) *Schema { return &Schema{Type: Types{"string"}, Enum: enum(names...)} }

const (
	idPattern   = `^[1-9][0-9]{0,15}$`
	truth       = `^([1tT]|TRUE|true|True|[0fF]|FALSE|false|False)$` // as strconv.ParseBool has it
	goDuration  = `^[+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)([0-9.]+(ns|us|µs|μs|ms|s|m|h))*$|^[+-]?0$`
	labelFilter = `^[^:]+:`
	eventTypes  = `^(submitted|started|retrying|succeeded|failed|cancelled)(,(submitted|started|retrying|succeeded|failed|cancelled))*$`
)

// instant is a time of the query.
func instant() *Schema { return &Schema{Type: Types{"string"}, Format: "date-time"} }

// idList is written as 1,2,3.
func idList() *Schema {
	lo, hi := 1, 1000
	return &Schema{Type: Types{"array"}, Items: matching(idPattern), MinItems: &lo, MaxItems: &hi}
}

// params are the parameters by name. Where a route means something else by a name, "GET /path name" stands before it.
var params = map[string]Param{
	"app":         {"The app to act on, by its public id; `*` reads all apps where one is not needed. Needs scope admin unless it is the key's own.", text(0, 64)},
	"limit":       {"Items of a page, at most.", number(1, 1000, 50)},
	"cursor":      {"What `nextCursor` of the page before gave, with the same filters.", text(0, 512)},
	"ids":         {"Up to 1,000 ids with commas between. Only together with `app`.", idList()},
	"state":       {"Tasks in this state.", choice("scheduled", "queued", "running", "succeeded", "failed", "cancelled", "blocked")},
	"queue":       {"Tasks of this queue.", matching(queueName)},
	"kind":        {"Tasks of this kind.", matching(kindName)},
	"label":       {"Tasks with this label, as `name:value`.", matching(labelFilter)},
	"uniqueKey":   {"Tasks with this unique key, up to 255 bytes.", text(1, 255)},
	"from":        {"What was made at this time or later.", instant()},
	"to":          {"What was made before this time.", instant()},
	"wait":        {"A duration up to `30s`: the answer comes when the task is final, or after it.", matching(goDuration)},
	"force":       {"Also a task that succeeded.", matching(truth)},
	"attempt":     {"The id of an attempt.", matching(idPattern)},
	"lastEventId": {"The id of the last event that was seen, where the header `Last-Event-ID` cannot be set.", text(0, 96)},
	"ticket":      {"A ticket in place of a key.", text(16, 128)},
	"type":        {"One or more types of events with commas between: submitted, started, retrying, succeeded, failed, cancelled.", matching(eventTypes)},
	"follow":      {"Go on until the attempt ends.", matching(truth)},
	"all":         {"Also workers that went in the last hour.", matching(truth)},
	"name":        {"The one with this name.", text(1, 100)},
	"paused":      {"Those that are paused, or those that are not.", matching(truth)},
	"outcome":     {"Slots with this outcome.", choice("fired", "held", "skipped", "skipped_overlap", "skipped_misfire", "failed_template")},
	"count":       {"Fire times, at most.", number(1, 1000, 5)},
	"stepMs":      {"The length of a step in ms: whole minutes. When it is left out, so long that there are at most 300 steps.", number(60_000, 31_622_400_000, nil)},
	"by":          {"What is counted apart; one line for all, when it is left out.", choice("queue", "app", "kind")},
	"action":      {"Changes with this name, such as `queue.pause`.", matching(`^[a-z_.]{1,48}$`)},
	"target":      {"Changes of the thing with this id or name.", text(1, 128)},
	"overlapMs":   {"How long the old secret goes on signing beside the new one.", number(0, 2_592_000_000, 0)},

	"GET /v1/stats from":                     {"The beginning, rounded down to whole steps; an hour before the end, when it is left out.", instant()},
	"GET /v1/stats to":                       {"The end, rounded up to whole steps; now, when it is left out.", instant()},
	"GET /v1/audit from":                     {"Changes at this time or later.", instant()},
	"GET /v1/audit to":                       {"Changes before this time.", instant()},
	"GET /v1/schedules/{id}/slots from":      {"Slots at this time or later.", instant()},
	"GET /v1/schedules/{id}/slots to":        {"Slots before this time.", instant()},
	"GET /v1/schedules/{id}/preview from":    {"Fire times strictly after this time; now, when it is left out.", instant()},
	"POST /v1/apps/{app}/test-callback kind": {"The kind of callbacks to try: `callback`, or that of a surface.", matching(`^([^\x00]*\.)?callback$`)},
	"GET /v1/tasks/{id}/log attempt":         {"The id of the attempt; the running one, else the newest that has a log, when it is left out.", matching(idPattern)},
	"GET /v1/tasks/{id}/log from":            {"The byte of the output to begin with.", number(0, 1<<53, 0)},
	"GET /v1/events queue":                   {"Events of tasks of this queue.", matching(queueName)},
	"GET /v1/events kind":                    {"Events of tasks of this kind.", matching(kindName)},
	"path /v1/tasks/{id}":                    {"The task's id.", matching(idPattern)},
	"path {attempt}":                         {"The attempt's id.", matching(idPattern)},
	"path /v1/schedules/{id}":                {"The schedule's id.", matching(idPattern)},
	"path /v1/workers/{id}":                  {"The worker's id.", matching(idPattern)},
	"path /v1/apps/{app}":                    {"The app's public id.", text(1, 64)},
	"path /v1/apps/{app}/keys/{key}":         {"The key's id.", matching(idPattern)},
	"path /v1/queues/{name}":                 {"The queue's name.", matching(queueName)},
	"path /v1/kinds/{name}":                  {"The kind's name; `system.` at its beginning is Taskweir's own.", matching(kindName)},
	"path /v1/limit-keys/{key}":              {"The limit key.", matching(limitKey)},
	"path /v1/bulk/{id}":                     {"The bulk operation's id.", matching(idPattern)},
}

// param finds what a parameter of an operation means.
func (o *Operation) param(name string) (Param, bool) {
	if p, ok := params[o.Method+" "+o.Path+" "+name]; ok {
		return p, true
	}
	p, ok := params[name]
	return p, ok
}

// pathParam finds what stands in a segment of the path.
func (o *Operation) pathParam(name string) (Param, bool) {
	at := len(o.Path)
	if i := strings.Index(o.Path, "{"+name+"}"); i >= 0 {
		at = i + len(name) + 2
	}
	if p, ok := params["path "+o.Path[:at]]; ok {
		return p, true
	}
	p, ok := params["path {"+name+"}"]
	return p, ok
}
