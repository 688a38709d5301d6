package sqldb

import "context"

// listDelete is a DELETE of the rows that a list names by their key.
//
// DELETE takes no index hint, and MariaDB walks the table when a list holds much of it (ORDER BY key LIMIT n, which keeps
// SELECT from that, fails when n comes near the size of the table; FORCE INDEX in the form for several tables does
// nothing). A walk waits for rows that the list does not name. So the list is joined first, as a table: each entry is then
// one dive into the index, at every size.
type listDelete struct {
	table  string
	index  string // empty: PRIMARY
	before string // conditions on the columns of the key that come before, with AND at their end
	column string // that the list is about
	after  string // further conditions, beginning with AND
}

// deleteIDs deletes the rows that sorted ids name and gives how many.
func (s *Store) deleteIDs(ctx context.Context, t tx, d listDelete, ids []int64) (deleted int64, err error) {
	err = s.deleteList(d, len(ids), true, func(x *text, i int) { x.n(ids[i]) }, func(query string) error {
		rows, err := t.exec(ctx, query)
		deleted += rows
		return err
	})
	return deleted, err
}

// deleteByKeys deletes the rows that sorted keys name and gives how many.
func (s *Store) deleteByKeys(ctx context.Context, t tx, d listDelete, keys [][32]byte) (deleted int64, err error) {
	err = s.deleteList(d, len(keys), false, func(x *text, i int) { x.hex(keys[i][:]) }, func(query string) error {
		rows, err := t.exec(ctx, query)
		deleted += rows
		return err
	})
	return deleted, err
}

// dropIDs is deleteIDs where nobody needs to know how many.
func (s *Store) dropIDs(ctx context.Context, t tx, d listDelete, ids []int64) error {
	return s.deleteList(d, len(ids), true, func(x *text, i int) { x.n(ids[i]) }, func(query string) error { return t.add(ctx, query) })
}

// dropKeys is deleteByKeys where nobody needs to know how many.
func (s *Store) dropKeys(ctx context.Context, t tx, d listDelete, keys [][32]byte) error {
	return s.deleteList(d, len(keys), false, func(x *text, i int) { x.hex(keys[i][:]) }, func(query string) error { return t.add(ctx, query) })
}

// deleteList gives run the statements that delete the rows of a list.
func (s *Store) deleteList(d listDelete, n int, numbers bool, entry func(x *text, i int), run func(query string) error) error {
	for from := 0; from < n; from += maxList {
		to := min(from+maxList, n)
		x := newText(2 * (to - from))
		if s.mysql && to-from > 1 {
			d.joined(x, from, to, numbers && to-from > unionMost, entry)
		} else {
			d.listed(x, from, to, entry)
		}
		if err := run(x.String()); err != nil {
			return err
		}
	}
	return nil
}

// unionMost is how long a list of numbers is named by SELECTs. Each of them is planned, which makes a purge of 500 cost twice as
// much; the function that makes a table of an array has a price of its own, and takes no binary keys.
const unionMost = 16

// joined is the form for MySQL.
func (d *listDelete) joined(x *text, from, to int, array bool, entry func(x *text, i int)) {
	index := d.index
	if index == "" {
		index = "PRIMARY"
	}
	first, next, end := "DELETE d FROM (SELECT ", " UNION ALL SELECT ", ") l"
	if array {
		first, next, end = "DELETE d FROM JSON_TABLE('[", ",", "]','$[*]' COLUMNS (v BIGINT PATH '$')) l"
	}
	x.s(first)
	for i := from; i < to; i++ {
		if i > from {
			x.s(next)
		}
		if entry(x, i); i == from && !array {
			x.s(" AS v")
		}
	}
	x.s(end).s(" STRAIGHT_JOIN ").s(d.table).s(" d FORCE INDEX (").s(index).s(") ON ").s(d.before).s("d.").s(d.column).s("=l.v").
		s(" WHERE 1=1").s(d.after)
}

// listed is the form for SQLite, and for one entry.
func (d *listDelete) listed(x *text, from, to int, entry func(x *text, i int)) {
	x.s("DELETE FROM ").s(d.table).s(" WHERE ").s(d.before).s(d.column).s(" IN (")
	for i := from; i < to; i++ {
		if i > from {
			x.s(",")
		}
		entry(x, i)
	}
	x.s(")").s(d.after)
}
