// Package migrations embeds the numbered schema changes of both databases. mysql/ (MySQL 8 and MariaDB 10.6+) and sqlite/
// hold the same numbers with the same meaning; internal/sqldb runs them.
//
// Rules: a published file is never edited; a step first expands (new tables, nullable or defaulted columns), later steps
// contract, so that the code before and after a step can run side by side. MySQL commits each DDL statement by itself,
// therefore every statement can be repeated (IF EXISTS, IF NOT EXISTS). Statements end with ";" at the end of a line.
package migrations

import "embed"

// FS holds mysql/NNNN_name.{up,down}.sql and sqlite/NNNN_name.{up,down}.sql.
//
//go:embed mysql/*.sql sqlite/*.sql
var FS embed.FS
