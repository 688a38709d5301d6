package sqldb

import (
	"errors"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/schema"
)

// liteDialector is what gorm needs to speak to SQLite through a pool that is open already. It has no migrator: the
// schema comes from the migrations package.
type liteDialector struct{ pool gorm.ConnPool }

// Name of the dialect.
func (liteDialector) Name() string { return "sqlite" }

// Initialize registers gorm's own callbacks.
func (d liteDialector) Initialize(db *gorm.DB) error {
	db.ConnPool = d.pool
	callbacks.RegisterDefaultCallbacks(db, &callbacks.Config{})
	return nil
}

// Migrator gives none.
func (liteDialector) Migrator(*gorm.DB) gorm.Migrator { return nil }

// DataTypeOf is asked by migrators only.
func (liteDialector) DataTypeOf(*schema.Field) string { return "" }

// DefaultValueOf is the value of a zero field that has a default.
func (liteDialector) DefaultValueOf(*schema.Field) clause.Expression { return clause.Expr{SQL: "NULL"} }

// BindVarTo writes a placeholder.
func (liteDialector) BindVarTo(w clause.Writer, _ *gorm.Statement, _ any) { _ = w.WriteByte('?') }

// QuoteTo writes a name, "table.column" as two.
func (liteDialector) QuoteTo(w clause.Writer, name string) {
	for i, part := range strings.Split(name, ".") {
		if i > 0 {
			_ = w.WriteByte('.')
		}
		_, _ = w.WriteString("`" + strings.ReplaceAll(part, "`", "``") + "`")
	}
}

// Explain renders a statement for logs.
func (liteDialector) Explain(sql string, vars ...any) string {
	return logger.ExplainSQL(sql, nil, `'`, vars...)
}

// Translate passes driver errors on; Store.interpret knows them.
func (liteDialector) Translate(err error) error { return err }

var errNoTransaction = errors.New("gorm on a transaction of another kind")
