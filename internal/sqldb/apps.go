package sqldb

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"gorm.io/gorm"

	"github.com/taskweir/taskweir/internal/task"
)

// appRow is the table apps.
type appRow struct {
	ID            int32 `gorm:"primaryKey;autoIncrement:false"`
	AppKey        string
	Name          string
	CallbackURL   string `gorm:"column:callback_url"`
	Paused        bool
	Weight        int
	Secret        []byte
	CreatedAt     int64 `gorm:"autoCreateTime:false"`
	Surface       string
	Step          int
	RetryTotal    int
	Remark        string
	HeaderStyle   string
	SignatureMode string

	OldSecret      []byte
	OldSecretUntil int64
	KeepDeliveries bool
	Disabled       bool
}

// TableName names it.
func (appRow) TableName() string { return "apps" }

func (r *appRow) app() task.App {
	return task.App{ID: r.ID, Key: r.AppKey, Name: r.Name, CallbackURL: r.CallbackURL, Paused: r.Paused, Weight: r.Weight,
		Secret: r.Secret, CreatedAt: r.CreatedAt,
		Legacy: task.Legacy{Surface: r.Surface, Step: r.Step, RetryTotal: r.RetryTotal, Remark: r.Remark, HeaderStyle: r.HeaderStyle,
			SignatureMode: r.SignatureMode},
		OldSecret: r.OldSecret, OldSecretUntil: r.OldSecretUntil, KeepDeliveries: r.KeepDeliveries, Disabled: r.Disabled}
}

func rowOfApp(a task.App) *appRow {
	if a.Secret == nil {
		a.Secret = []byte{}
	}
	if a.OldSecret == nil {
		a.OldSecret = []byte{}
	}
	return &appRow{ID: a.ID, AppKey: a.Key, Name: a.Name, CallbackURL: a.CallbackURL, Paused: a.Paused, Weight: max(a.Weight, 1),
		Secret: a.Secret, CreatedAt: a.CreatedAt,
		Surface: a.Legacy.Surface, Step: a.Legacy.Step, RetryTotal: a.Legacy.RetryTotal, Remark: a.Legacy.Remark, HeaderStyle: a.Legacy.HeaderStyle, SignatureMode: a.Legacy.SignatureMode,
		OldSecret: a.OldSecret, OldSecretUntil: a.OldSecretUntil, KeepDeliveries: a.KeepDeliveries, Disabled: a.Disabled}
}

// keyRecord is the table api_keys.
type keyRecord struct {
	ID        int64 `gorm:"primaryKey;autoIncrement:false"`
	AppID     int32
	Hash      []byte
	Hint      string
	Name      string
	Scope     uint8
	Bootstrap bool
	CreatedAt int64 `gorm:"autoCreateTime:false"`
	RevokedAt int64
}

// TableName names it.
func (keyRecord) TableName() string { return "api_keys" }

func (r *keyRecord) key() task.APIKey {
	k := task.APIKey{ID: r.ID, AppID: r.AppID, Hint: r.Hint, Name: r.Name, Scope: task.Scope(r.Scope), Bootstrap: r.Bootstrap,
		CreatedAt: r.CreatedAt, RevokedAt: r.RevokedAt}
	copy(k.Hash[:], r.Hash)
	return k
}

// settledTwice is for writes that may simply be done again after an unknown outcome.
func settledTwice(context.Context) (bool, error) { return false, nil }

// CreateApp stores an app, with an id of its own and the database's time. Conflict when its key is taken.
func (s *Store) CreateApp(ctx context.Context, a task.App) (task.App, error) {
	id, err := s.allocate(ctx, "app", 1)
	if err != nil {
		return task.App{}, err
	}
	a.ID, a.CreatedAt = int32(id), s.now()
	err = s.writeSettled(ctx, func(ctx context.Context, t tx) error {
		if err := s.limitApp(ctx, t, &a); err != nil {
			return err
		}
		if err := s.gorm(ctx, t).Create(rowOfApp(a)).Error; err != nil {
			return err
		}
		return s.noteOn(ctx, t, a.ID)
	}, s.found("SELECT 1 FROM apps WHERE id=?", id))
	if duplicate(err) {
		err = &task.Error{Kind: task.Conflict, Code: "app_key_taken", Message: "another app has this key"}
	}
	if err != nil {
		return task.App{}, err
	}
	out := rowOfApp(a).app()
	out.Limits = a.Limits
	return out, nil
}

// found looks up whether a row is there.
func (s *Store) found(query string, args ...any) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		var one int
		err := s.db.QueryRowContext(ctx, query+s.shared(), args...).Scan(&one)
		if errors.Is(err, sql.ErrNoRows) {
			return false, nil
		}
		return err == nil, err
	}
}

// UpdateApp stores what can change of an app but its secrets (SetSecret): name, callback URL, pause, weight, limits, whether it is disabled, what is kept of
// deliveries, legacy settings but the surface. Missing when there is none.
func (s *Store) UpdateApp(ctx context.Context, a task.App) error {
	row := rowOfApp(a)
	return s.setLimits(ctx, func(ctx context.Context, t tx) error {
		if err := s.limitApp(ctx, t, &a); err != nil {
			return err
		}
		res := s.gorm(ctx, t).Model(&appRow{}).Where("id = ?", a.ID).Updates(map[string]any{"name": row.Name,
			"callback_url": row.CallbackURL, "paused": row.Paused, "weight": row.Weight,
			"step": row.Step, "retry_total": row.RetryTotal, "remark": row.Remark, "header_style": row.HeaderStyle, "signature_mode": row.SignatureMode,
			"keep_deliveries": row.KeepDeliveries, "disabled": row.Disabled})
		if res.Error == nil && res.RowsAffected == 0 {
			return task.Missing("app")
		}
		if res.Error != nil {
			return res.Error
		}
		return s.noteOn(ctx, t, a.ID)
	})
}

// SetSecret stores an app's secrets and until when the old one signs, in the place of was: somebody who changes something else of the
// app at the same moment cannot bring a secret back that was given up. Conflict when another secret is stored than was.
func (s *Store) SetSecret(ctx context.Context, a task.App, was []byte) error {
	row := rowOfApp(a)
	return s.writeSettled(ctx, func(ctx context.Context, t tx) error {
		res := s.gorm(ctx, t).Model(&appRow{}).Where("id = ? AND HEX(secret) = ?", a.ID, hexOf(was)).Updates(map[string]any{"secret": row.Secret,
			"old_secret": row.OldSecret, "old_secret_until": row.OldSecretUntil})
		if res.Error == nil && res.RowsAffected == 0 {
			return &task.Error{Kind: task.Conflict, Code: "secret_changed", Message: "the app got another secret at the same moment"}
		}
		if res.Error != nil {
			return res.Error
		}
		return s.noteOn(ctx, t, a.ID)
	}, s.found("SELECT 1 FROM apps WHERE id=? AND HEX(secret)=?", a.ID, hexOf(row.Secret)))
}

// hexOf is a secret as both databases compare it alike: SQLite tells an empty text from no bytes.
func hexOf(secret []byte) string { return strings.ToUpper(hex.EncodeToString(secret)) }

// Apps lists every app by id.
func (s *Store) Apps(ctx context.Context) ([]task.App, error) {
	var rows []appRow
	if err := s.read(ctx).Order("id").Find(&rows).Error; err != nil {
		return nil, s.interpret(err)
	}
	limits, err := s.appLimits(ctx, 0)
	if err != nil {
		return nil, err
	}
	out := make([]task.App, len(rows))
	for i := range rows {
		out[i] = rows[i].app()
		out[i].Limits = limits[out[i].ID]
		s.appKeys.put(rows[i].ID, rows[i].AppKey)
	}
	return out, nil
}

// AppByID gives an app with its sealed secret. Missing when there is none.
func (s *Store) AppByID(ctx context.Context, id int32) (task.App, error) {
	return s.oneApp(ctx, "id = ?", id)
}

// AppByKey gives an app by its public key. Missing when there is none.
func (s *Store) AppByKey(ctx context.Context, key string) (task.App, error) {
	return s.oneApp(ctx, "app_key = ?", key)
}

func (s *Store) oneApp(ctx context.Context, where string, arg any) (task.App, error) {
	var row appRow
	switch err := s.read(ctx).Where(where, arg).Take(&row).Error; {
	case errors.Is(err, gorm.ErrRecordNotFound):
		return task.App{}, task.Missing("app")
	case err != nil:
		return task.App{}, s.interpret(err)
	}
	limits, err := s.appLimits(ctx, row.ID)
	out := row.app()
	out.Limits = limits[row.ID]
	return out, err
}

// appKey gives an app's public key, which never changes, from memory when it was ever read.
func (s *Store) appKey(ctx context.Context, id int32) (string, error) {
	if k, ok := s.appKeys.get(id); ok {
		return k, nil
	}
	a, err := s.AppByID(ctx, id)
	if task.KindOf(err) == task.NotFound {
		return "", nil
	}
	if err == nil {
		s.appKeys.put(id, a.Key)
	}
	return a.Key, err
}

// CreateAPIKey stores a key with an id of its own and the database's time. Conflict when its hash is there.
func (s *Store) CreateAPIKey(ctx context.Context, k task.APIKey) (task.APIKey, error) {
	id, err := s.allocate(ctx, "key", 1)
	if err != nil {
		return task.APIKey{}, err
	}
	k.ID, k.CreatedAt = id, s.now()
	err = s.writeSettled(ctx, func(ctx context.Context, t tx) error {
		if n, err := scanInt(ctx, t, "SELECT COUNT(*) FROM apps WHERE id=?", k.AppID); err != nil || n == 0 {
			if err == nil {
				err = task.Missing("app")
			}
			return err
		}
		if err := s.gorm(ctx, t).Create(recordOf(k)).Error; err != nil {
			return err
		}
		if e := task.AuditOf(ctx); e != nil {
			e.Target = strconv.FormatInt(k.ID, 10)
		}
		return s.noteOn(ctx, t, k.AppID)
	}, s.found("SELECT 1 FROM api_keys WHERE id=?", id))
	if duplicate(err) {
		err = &task.Error{Kind: task.Conflict, Code: "api_key_exists", Message: "this key exists already"}
	}
	if err != nil {
		return task.APIKey{}, err
	}
	return k, nil
}

func recordOf(k task.APIKey) *keyRecord {
	return &keyRecord{ID: k.ID, AppID: k.AppID, Hash: k.Hash[:], Hint: k.Hint, Name: k.Name, Scope: uint8(k.Scope),
		Bootstrap: k.Bootstrap, CreatedAt: k.CreatedAt, RevokedAt: k.RevokedAt}
}

// APIKeys lists an app's keys by id, revoked ones too.
func (s *Store) APIKeys(ctx context.Context, appID int32) ([]task.APIKey, error) {
	var rows []keyRecord
	q := s.read(ctx).Order("id")
	if appID != 0 {
		q = q.Where("app_id = ?", appID)
	}
	if err := q.Find(&rows).Error; err != nil {
		return nil, s.interpret(err)
	}
	out := make([]task.APIKey, len(rows))
	for i := range rows {
		out[i] = rows[i].key()
	}
	return out, nil
}

// APIKeyByHash gives a live key. Missing when there is none or it was revoked.
func (s *Store) APIKeyByHash(ctx context.Context, hash [32]byte) (task.APIKey, error) {
	var row keyRecord
	switch err := s.read(ctx).Where("hash = ? AND revoked_at = 0", hash[:]).Take(&row).Error; {
	case errors.Is(err, gorm.ErrRecordNotFound):
		return task.APIKey{}, task.Missing("api_key")
	case err != nil:
		return task.APIKey{}, s.interpret(err)
	}
	return row.key(), nil
}

// RevokeAPIKey ends a key's life; revoking twice is revoking once. Missing when it is not the app's.
func (s *Store) RevokeAPIKey(ctx context.Context, appID int32, id int64) error {
	return s.writeSettled(ctx, func(ctx context.Context, t tx) error {
		var row keyRecord
		q := s.gorm(ctx, t).Where("id = ?", id)
		if appID != 0 {
			q = q.Where("app_id = ?", appID)
		}
		err := q.Take(&row).Error
		if errors.Is(err, gorm.ErrRecordNotFound) {
			return task.Missing("api_key")
		}
		if err != nil || row.RevokedAt != 0 {
			return err
		}
		if err := s.gorm(ctx, t).Model(&keyRecord{}).Where("id = ?", id).Update("revoked_at", s.now()).Error; err != nil {
			return err
		}
		return s.noteOn(ctx, t, row.AppID)
	}, settledTwice)
}

// TakeBootstrapKey makes the app with a's name if it is missing and gives it this bootstrap key, with scope admin. Every other
// bootstrap key ends, also one of an app that had the name before: whoever changes the key wants the old one to be useless.
// Processes that start at once do it one after the other (the row of the app ids is their lock).
func (s *Store) TakeBootstrapKey(ctx context.Context, a task.App, hash [32]byte, hint string) error {
	appID, err := s.allocate(ctx, "app", 1)
	if err != nil {
		return err
	}
	keyID, err := s.allocate(ctx, "key", 1)
	if err != nil {
		return err
	}
	return s.writeSettled(ctx, func(ctx context.Context, t tx) error {
		if _, err := t.exec(ctx, "UPDATE ids SET next=next WHERE name='app'"); err != nil {
			return err
		}
		db := func() *gorm.DB { return s.gorm(ctx, t) }
		var app appRow
		err := db().Where("name = ?", a.Name).Order("id").Take(&app).Error
		if errors.Is(err, gorm.ErrRecordNotFound) {
			a.ID, a.CreatedAt = int32(appID), s.now()
			app, err = *rowOfApp(a), db().Create(rowOfApp(a)).Error
		}
		if err != nil {
			return err
		}
		if err := db().Where("bootstrap = ? AND hash <> ?", true, hash[:]).Delete(&keyRecord{}).Error; err != nil {
			return err
		}
		k := task.APIKey{ID: keyID, AppID: app.ID, Hash: hash, Hint: hint, Name: "bootstrap", Scope: task.ScopeAdmin,
			Bootstrap: true, CreatedAt: s.now()}
		res := db().Model(&keyRecord{}).Where("hash = ?", hash[:]).Updates(map[string]any{"app_id": k.AppID, "hint": k.Hint,
			"scope": uint8(k.Scope), "bootstrap": true, "revoked_at": 0})
		if res.Error != nil || res.RowsAffected > 0 {
			return res.Error
		}
		return db().Create(recordOf(k)).Error
	}, settledTwice)
}
