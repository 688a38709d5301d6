package control

import (
	"context"

	"github.com/taskweir/taskweir/internal/task"
)

// OperateStore is what statistics, the audit trail and bulk operations need of the database.
type OperateStore interface {
	// Stats gives figures by step and key, oldest first, without steps in which nothing happened. Invalid when they are too many, or
	// begin before what is kept of such short steps.
	Stats(ctx context.Context, q task.StatsQuery) ([]task.Stat, error)

	// WriteAudit writes an entry of the audit trail by itself. Methods that change something write the entry of their context
	// (task.WithAudit) in their own transaction.
	WriteAudit(ctx context.Context, e *task.AuditEntry) error
	// AuditTrail gives a page of entries, newest first.
	AuditTrail(ctx context.Context, f task.AuditFilter) (task.AuditPage, error)

	// CreateBulk stores a bulk operation of what is there now. Throttled when most of the app's run. A known idempotency key with the same
	// body gives the operation that it made, replayed; with another body it is a Conflict.
	CreateBulk(ctx context.Context, b task.Bulk, idem *task.Idempotency, most int) (got task.Bulk, replayed bool, err error)
	// BulkByID gives an operation as it stands.
	BulkByID(ctx context.Context, appID int32, id int64) (task.Bulk, error)
	// Bulks gives a page of operations, newest first.
	Bulks(ctx context.Context, appID int32, cursor string, limit int) (task.BulkPage, error)
	// StopBulk asks an operation to end. One that is over stays as it is.
	StopBulk(ctx context.Context, appID int32, id int64) (task.Bulk, error)
}
