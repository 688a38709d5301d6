package control

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// The audit trail keeps every change that somebody made but submits: a task says itself who submitted it, and completions: they
// are the task's own course. The transaction of the change writes the entry, so that neither is without the other; changes that
// consist of several transactions write it right behind. Log lines say the same.

// Via says where a request of the principal came through: the surface, the address of the client and the id of the request.
func (p Principal) Via(surface, address, request string) Principal {
	p.by.Surface, p.by.Address, p.request = surface, address, request
	return p
}

// trail begins an entry of the audit trail, and gives the context for the store's method that makes the change.
func (s *Service) trail(ctx context.Context, p Principal, action string, target any) (context.Context, *task.AuditEntry) {
	e := &task.AuditEntry{Actor: p.by, Action: action, Target: fmt.Sprint(target), Request: p.request}
	return task.WithAudit(ctx, e), e
}

// recorded ends an entry: the change is made. It logs it, and writes it unless the change's transaction did.
func (s *Service) recorded(ctx context.Context, p Principal, e *task.AuditEntry, args ...any) {
	s.log.Info("audit", append([]any{"action", e.Action, "target", e.Target, "app", p.App.Key, "by", e.Actor.App, "key", p.KeyID, "surface", e.Actor.Surface, "address", e.Actor.Address}, args...)...)
	if e.Written {
		return
	}
	if err := s.store.WriteAudit(context.WithoutCancel(ctx), e); err != nil {
		s.log.ErrorContext(ctx, "a change could not be written into the audit trail", "action", e.Action, "target", e.Target, "err", err)
	}
}

// document is a definition as the audit trail shows it.
func document(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return nil // of maps and plain values it never is
	}
	return b
}

// changes puts what a schedule was and becomes into the entry of the context.
func changes(ctx context.Context, before, after schedule.Row) {
	if e := task.AuditOf(ctx); e != nil {
		e.AppID, e.Before, e.After = before.AppID, scheduleDocument(before), scheduleDocument(after)
	}
}

const (
	maxAuditAction = 48
	maxAuditTarget = 128
)

// AuditTrail gives a page of the audit trail, newest first: what was changed of the principal's app, for an admin without an app
// in mind (all) of every app, and of what belongs to none. Needs scope manage.
func (s *Service) AuditTrail(ctx context.Context, p Principal, f task.AuditFilter, all bool) (task.AuditPage, error) {
	if err := p.need(task.ScopeManage); err != nil {
		return task.AuditPage{}, err
	}
	var bad faults
	if len(f.Action) > maxAuditAction || strings.Trim(f.Action, "abcdefghijklmnopqrstuvwxyz_.") != "" {
		bad.add("action", "format", "must be the name of an action, like queue.pause")
	}
	if len(f.Target) > maxAuditTarget {
		bad.add("target", "length", "must be at most 128 bytes")
	}
	if f.Limit < 1 || f.Limit > 1000 {
		bad.add("limit", "range", "must be 1 … 1000")
	}
	if f.From != 0 && f.To != 0 && f.To <= f.From {
		bad.add("to", "after", "must be later than from")
	}
	if err := bad.err(); err != nil {
		return task.AuditPage{}, err
	}
	if f.AppID = p.appID(); all && p.Scope >= task.ScopeAdmin {
		f.AppID = 0
	}
	return s.store.AuditTrail(ctx, f)
}
