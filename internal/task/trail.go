package task

import "context"

// Actor is who makes a change.
type Actor struct {
	App     string // key of the credential's app
	KeyID   int64  // its API key; 0: none
	KeyName string
	Scope   Scope
	Surface string // v1, goodjob, …
	Address string // where the request came from
}

// AuditEntry is one change that somebody made, as the audit trail keeps it.
type AuditEntry struct {
	ID, At  int64
	AppID   int32  // whose thing was changed; 0: nobody's
	App     string // its key, when it was read
	Actor   Actor
	Action  string // stable: queue.pause, app.update
	Target  string // an id or a name
	Before  []byte // JSON, without secrets; nil: there was nothing, or it is no definition
	After   []byte
	Request string // id of the request

	// Written says that the transaction of the change wrote it.
	Written bool
}

// AuditFilter selects entries of the audit trail. Zero fields do not filter.
type AuditFilter struct {
	AppID          int32
	Action, Target string
	From, To       int64 // [From, To), ms
	Cursor         string
	Limit          int // 1 … 1000
}

// AuditPage is one page, newest first. Next is empty at the end.
type AuditPage struct {
	Items []AuditEntry
	Next  string
}

type auditKey struct{}

// WithAudit gives a store the entry of the change that it is about to make, for the transaction of the change to write.
func WithAudit(ctx context.Context, e *AuditEntry) context.Context {
	return context.WithValue(ctx, auditKey{}, e)
}

// AuditOf is the entry that WithAudit gave, nil without one.
func AuditOf(ctx context.Context) *AuditEntry {
	e, _ := ctx.Value(auditKey{}).(*AuditEntry)
	return e
}
