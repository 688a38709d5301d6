package sqldb

import (
	"context"
	"database/sql"
	"unicode/utf8"

	"github.com/taskweir/taskweir/internal/task"
)

const insertTrailSQL = "INSERT INTO audit_trail (at,app_id,actor_app,key_id,key_name,scope,surface,address,action,target,request,before_doc,after_doc) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"

// note writes the entry of a change, if there is one, in the transaction of the change, as its last statement or near it. The
// tries of a transaction each write it anew.
func (s *Store) note(ctx context.Context, t tx) error {
	e := task.AuditOf(ctx)
	if e == nil {
		return nil
	}
	e.At, e.Written = s.now(), true
	_, err := t.exec(ctx, insertTrailSQL, e.At, e.AppID, clip(e.Actor.App, 16), e.Actor.KeyID, clip(e.Actor.KeyName, 255), uint8(e.Actor.Scope), clip(e.Actor.Surface, 16),
		clip(e.Actor.Address, 64), clip(e.Action, 48), clip(e.Target, 128), clip(e.Request, 128), e.Before, e.After)
	return err
}

// noteOn is note for a thing of an app.
func (s *Store) noteOn(ctx context.Context, t tx, app int32) error {
	if e := task.AuditOf(ctx); e != nil {
		e.AppID = app
	}
	return s.note(ctx, t)
}

// clip makes a text fit a column of so many characters.
func clip(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most])
}

// WriteAudit writes an entry by itself, for changes that are made of more than one transaction.
func (s *Store) WriteAudit(ctx context.Context, e *task.AuditEntry) error {
	return s.write(task.WithAudit(ctx, e), s.note)
}

// AuditTrail gives a page of entries, newest first. It reads at most 10,000 index entries: a page may be shorter than the limit,
// even empty, and have a cursor to go on.
func (s *Store) AuditTrail(ctx context.Context, f task.AuditFilter) (task.AuditPage, error) {
	var page task.AuditPage
	at, resumed, err := decodeCursor(f.Cursor, trailByTime)
	if err != nil {
		return page, err
	}
	if !resumed {
		at = cursor{mode: trailByTime, due: f.To}
	}
	ids, next, err := s.trailIDs(ctx, f, at, resumed)
	if err != nil || len(ids) == 0 {
		page.Next = next
		return page, err
	}
	page.Next = next
	x := newText(len(ids)).s("SELECT id,at,app_id,actor_app,key_id,key_name,scope,surface,address,action,target,request,before_doc,after_doc FROM audit_trail WHERE id IN (").
		ids(sortedIDs(ids)).s(") ORDER BY at DESC,id DESC")
	err = s.readEach(ctx, x.String(), func(rows *sql.Rows) error {
		var e task.AuditEntry
		err := rows.Scan(&e.ID, &e.At, &e.AppID, &e.Actor.App, &e.Actor.KeyID, &e.Actor.KeyName, &e.Actor.Scope, &e.Actor.Surface, &e.Actor.Address,
			&e.Action, &e.Target, &e.Request, &e.Before, &e.After)
		page.Items = append(page.Items, e)
		return err
	})
	if err != nil {
		return page, err
	}
	for i := range page.Items {
		if e := &page.Items[i]; e.AppID != 0 {
			if e.App, err = s.keyOfApp(ctx, e.AppID); err != nil {
				return page, err
			}
		}
	}
	return page, nil
}

// keyOfApp is an app's public key, which never changes, from memory when it was ever read; "" when there is no such app.
func (s *Store) keyOfApp(ctx context.Context, id int32) (key string, err error) {
	if k, ok := s.appKeys.get(id); ok {
		return k, nil
	}
	err = s.readEach(ctx, "SELECT app_key FROM apps WHERE id=?", func(rows *sql.Rows) error { return rows.Scan(&key) }, id)
	if err == nil && key != "" {
		s.appKeys.put(id, key)
	}
	return key, err
}

// trailIDs walks the narrowest index that gives the order of time.
func (s *Store) trailIDs(ctx context.Context, f task.AuditFilter, at cursor, resumed bool) (ids []int64, next string, err error) {
	index, on, args := "at", "", []any(nil)
	switch {
	case f.Target != "":
		index, on, args = "target", "target=? AND ", []any{f.Target}
	case f.AppID != 0:
		index, on, args = "app", "app_id=? AND ", []any{f.AppID}
	case f.Action != "":
		index, on, args = "action", "action=? AND ", []any{f.Action}
	}
	for budget := listBudget; budget > 0; {
		n := min(listStep, budget)
		x := newText(8).s("SELECT id,at,app_id,action FROM audit_trail").s(s.useIndex("audit_trail", index)).s(" WHERE ").s(on).s("at>=").n(f.From)
		if at.due != 0 {
			x.s(" AND at<").n(at.due + btoi(resumed))
		}
		if resumed {
			x.s(" AND (at<").n(at.due).s(" OR id<").n(at.id).s(")")
		}
		read := 0
		if err := s.readEach(ctx, x.s(" ORDER BY at DESC,id DESC LIMIT ").n(int64(n)).String(), func(rows *sql.Rows) error {
			var id, when int64
			var app int32
			var action string
			if err := rows.Scan(&id, &when, &app, &action); err != nil || len(ids) == f.Limit {
				return err
			}
			read++
			at, resumed = cursor{mode: trailByTime, due: when, id: id}, true
			if (f.AppID == 0 || app == f.AppID) && (f.Action == "" || action == f.Action) {
				ids = append(ids, id)
			}
			return nil
		}, args...); err != nil {
			return nil, "", err
		}
		switch {
		case len(ids) == f.Limit:
			return ids, at.encode(), nil
		case read < n:
			return ids, "", nil
		}
		budget -= read
	}
	return ids, at.encode(), nil
}

func btoi(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// useIndex names the index of a read.
func (s *Store) useIndex(table, index string) string {
	if s.mysql {
		return " FORCE INDEX (" + index + ")"
	}
	return " INDEXED BY " + table + "_" + index
}

// PurgeAudit deletes entries from before an instant, at most limit, and gives how many.
func (s *Store) PurgeAudit(ctx context.Context, before int64, limit int) (int, error) {
	return s.purgeByTime(ctx, "audit_trail", "at", "at>0 AND at<", before, limit)
}

// purgeByTime deletes rows of a table with an index by time.
func (s *Store) purgeByTime(ctx context.Context, table, index, condition string, before int64, limit int) (int, error) {
	ids, err := s.ids(ctx, newText(2).s("SELECT id FROM ").s(table).s(s.useIndex(table, index)).s(" WHERE ").s(condition).n(before).s(" LIMIT ").n(int64(min(max(1, limit), maxList))).String())
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	return s.deleted(ctx, func(ctx context.Context, t tx) (int64, error) {
		return s.deleteIDs(ctx, t, listDelete{table: table, column: "id"}, sortedIDs(ids))
	})
}
