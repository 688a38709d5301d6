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
	err = s.deleteList(d, len(ids), func(x *text, i int) { x.n(ids[i]) }, func(query string) error {
		rows, err := t.exec(ctx, query)
		deleted += rows
		return err
	})
	return deleted, err
}

// deleteByKeys deletes the rows that sorted keys name and gives how many.
func (s *Store) deleteByKeys(ctx context.Context, t tx, d listDelete, keys [][32]byte) (deleted int64, err error) {
	err = s.deleteList(d, len(keys), func(x *text, i int) { x.hex(keys[i][:]) }, func(query string) error {
		rows, err := t.exec(ctx, query)
		deleted += rows
		return err
	})
	return deleted, err
}

// dropIDs is deleteIDs where nobody needs to know how many.
func (s *Store) dropIDs(ctx context.Context, t tx, d listDelete, ids []int64) error {
	return s.deleteList(d, len(ids), func(x *text, i int) { x.n(ids[i]) }, func(query string) error { return t.add(ctx, query) })
}

// dropKeys is deleteByKeys where nobody needs to know how many.
func (s *Store) dropKeys(ctx context.Context, t tx, d listDelete, keys [][32]byte) error {
	return s.deleteList(d, len(keys), func(x *text, i int) { x.hex(keys[i][:]) }, func(query string) error { return t.add(ctx, query) })
}

// deleteList gives run the statements that delete the rows of a list.
func (s *Store) deleteList(d listDelete, n int, entry func(x *text, i int), run func(query string) error) error {
	for from := 0; from < n; from += maxList {
		to := min(from+maxList, n)
		x := newText(2 * (to - from))
		if s.mysql && to-from > 1 {
			d.joined(x, from, to, entry)
		} else {
			d.listed(x, from, to, entry)
		}
		if err := run(x.String()); err != nil {
			return err
		}
	}
	return nil
}

// joined is the form for MySQL.
func (d *listDelete) joined(x *text, from, to int, entry func(x *text, i int)) {
	index := d.index
	if index == "" {
		index = "PRIMARY"
	}
	x.s("DELETE d FROM (SELECT ")
	entry(x, from)
	x.s(" AS v")
	for i := from + 1; i < to; i++ {
		x.s(" UNION ALL SELECT ")
		entry(x, i)
	}
	x.s(") l STRAIGHT_JOIN ").s(d.table).s(" d FORCE INDEX (").s(index).s(") ON ").s(d.before).s("d.").s(d.column).s("=l.v").
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
