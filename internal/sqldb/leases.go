package sqldb

import (
	"context"
	"database/sql"
	"math"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/failpoint"
)

// dbNow is the database's time in ms, within a statement: a lease is compared with one clock, not with each process's
// idea of it.
func (s *Store) dbNow() string {
	now := "CAST(unixepoch('subsec')*1000 AS INTEGER)"
	if s.mysql {
		now = "CAST(UNIX_TIMESTAMP(SYSDATE(3))*1000 AS SIGNED)"
	}
	if off := failpoint.ClockMs(); off != 0 {
		return newText(1).s("(").s(now).s("+").n(off).s(")").String()
	}
	return now
}

// beyond is how many times its length a lease may lie ahead. One that lies farther ahead was taken before the database's
// clock was set back: its owner, if it lives, has not renewed it since, and would keep it for as long as the step.
const beyond = 2

// Lease takes or renews a lease: granted when it is free, expired, too far ahead (beyond) or the owner's. The term grows
// whenever the owner changes. An error says nothing about the lease: who does not know that it holds it, does not.
func (s *Store) Lease(ctx context.Context, name string, owner int64, ttl time.Duration) (granted bool, term int64, err error) {
	now, ms := s.dbNow(), ttl.Milliseconds()
	// Left to right on MySQL: term sees the owner before it changes; SQLite sees the old row everywhere.
	s.engine.leaseLengths.Store(leaseClass(name), ms)
	take := newText(4).s("UPDATE leases SET term=term+(owner<>").n(owner).s("),until=").s(now).s("+").n(ms).s(",owner=").n(owner).
		s(" WHERE name=? AND (owner=").n(owner).s(" OR until<=").s(now).s(" OR until>").s(now).s("+").n(beyond * ms).s(")").String()
	insert := newText(4).s(s.insertIgnore()).s(" INTO leases (name,owner,term,until) VALUES (?,").n(owner).s(",1,").s(now).s("+").n(ms).s(")").String()
	err = s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		granted, term = false, 0
		n, err := t.exec(ctx, take, name)
		if err == nil && n == 0 {
			n, err = t.exec(ctx, insert, name)
		}
		if err != nil || n == 0 {
			return err
		}
		rows, err := t.query(ctx, "SELECT term FROM leases WHERE name=?", name)
		granted = true
		return eachRow(rows, err, func(rows *sql.Rows) error { return rows.Scan(&term) })
	})
	if err != nil {
		return false, 0, err
	}
	return granted, term, nil
}

// insertIgnore begins an INSERT that leaves out rows whose key is there. Only for tables of fixed-size numbers and hashes:
// on MySQL it forgives other faults of a row too.
func (s *Store) insertIgnore() string {
	if s.mysql {
		return "INSERT IGNORE"
	}
	return "INSERT OR IGNORE"
}

// GiveUpLease frees it if it is the owner's.
func (s *Store) GiveUpLease(ctx context.Context, name string, owner int64) error {
	query := newText(1).s("UPDATE leases SET until=0 WHERE name=? AND owner=").n(owner).String()
	return s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, query, name)
		return err
	})
}

// leaseClass is what leases of one length have in common: the name up to the slash.
func leaseClass(name string) string {
	class, _, _ := strings.Cut(name, "/")
	return class
}

// LeaseOwners gives every lease that has not expired and could not be taken, name to owner. How long leases are it knows
// from those that were asked for here; of a class that never was, it takes the shortest.
func (s *Store) LeaseOwners(ctx context.Context) (map[string]int64, error) {
	shortest := int64(math.MaxInt64 / beyond)
	s.engine.leaseLengths.Range(func(_, ms any) bool { shortest = min(shortest, ms.(int64)); return true })
	owners := map[string]int64{}
	query := newText(3).s("SELECT name,owner,until-").s(s.dbNow()).s(" FROM leases WHERE until>").s(s.dbNow()).String()
	err := s.readEach(ctx, query, func(rows *sql.Rows) error {
		var name string
		var owner, ahead int64
		err := rows.Scan(&name, &owner, &ahead)
		length := shortest
		if ms, known := s.engine.leaseLengths.Load(leaseClass(name)); known {
			length = ms.(int64)
		}
		if ahead <= beyond*length {
			owners[name] = owner
		}
		return err
	})
	return owners, err
}

// NewOwner allocates an owner id that was never used.
func (s *Store) NewOwner(ctx context.Context) (int64, error) { return s.workerID(ctx) }
