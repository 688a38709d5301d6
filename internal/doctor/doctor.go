// Package doctor looks at everything a Taskweir process depends on and says what is wrong and how to mend it.
//
// It works on the configuration of an operator's command and asks each server itself: the database and Redis through probes
// that the composition root provides, so that this package imports no driver; nsqd and nsqlookupd over their own wire,
// because what matters there is what those programs answer to a client: the doctor introduces itself exactly as Taskweir's
// consumers do, and a setting that refuses them refuses the doctor. It changes nothing anywhere.
//
// A finding is ok, a warning (works, but will surprise somebody) or a problem (tasks will be lost, stuck or refused). One
// server that does not answer hides nothing of the others.
package doctor

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/config"
)

// Level is how bad a finding is.
type Level string

// The levels.
const (
	OK      Level = "ok"
	Warning Level = "warning"
	Problem Level = "problem"
)

// Finding is one thing that was looked at.
type Finding struct {
	Area  string `json:"area"`           // configuration, database, redis, nsqd, nsqlookupd, clock
	Check string `json:"check"`          // what was looked at
	Level Level  `json:"level"`          //
	Text  string `json:"text"`           // what was found
	Mend  string `json:"mend,omitempty"` // how to mend it, for warnings and problems
}

// Report is everything that was found.
type Report struct {
	Findings []Finding `json:"findings"`
	Problems int       `json:"problems"`
	Warnings int       `json:"warnings"`
}

// Database is an open database.
type Database interface {
	// MySQL tells MySQL and MariaDB from SQLite.
	MySQL() bool
	// Variables gives the server's variables of these names (SHOW VARIABLES, SQLite: PRAGMA); unknown names are left out.
	// "version" is the server's version.
	Variables(ctx context.Context, names ...string) (map[string]string, error)
	// Schema gives the newest schema step that was applied and the newest that this program knows.
	Schema(ctx context.Context) (applied, known int, err error)
	// Clock gives the database's time minus this machine's, and how exactly it was measured.
	Clock() (offset, uncertainty time.Duration)
	Close() error
}

// Redis is a client of a Redis.
type Redis interface {
	Ping(ctx context.Context) error
	// Info gives the fields of INFO; empty for a server that has none.
	Info(ctx context.Context) (map[string]string, error)
	Close() error
}

// Probes open what this package may not import.
type Probes struct {
	Database func(ctx context.Context, c *config.Config) (Database, error)
	Redis    func(ctx context.Context, c *config.Config) (Redis, error)
}

// each bounds the examination of one server.
const each = 8 * time.Second

// Run examines everything in the configuration of role Operator.
func Run(ctx context.Context, c *config.Config, p Probes) Report {
	var r Report
	for _, area := range []func(context.Context, *config.Config, Probes) []Finding{settings, database, redis, broker} {
		r.Findings = append(r.Findings, area(ctx, c, p)...)
	}
	for _, f := range r.Findings {
		switch f.Level {
		case Problem:
			r.Problems++
		case Warning:
			r.Warnings++
		}
	}
	return r
}

// area makes the findings of one area.
type area string

func (a area) ok(check, text string) Finding {
	return Finding{Area: string(a), Check: check, Level: OK, Text: text}
}

func (a area) warn(check, text, mend string) Finding {
	return Finding{Area: string(a), Check: check, Level: Warning, Text: text, Mend: mend}
}

func (a area) problem(check, text, mend string) Finding {
	return Finding{Area: string(a), Check: check, Level: Problem, Text: text, Mend: mend}
}
