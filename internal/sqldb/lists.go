package sqldb

import (
	"slices"
	"strconv"
)

// maxList is the most ids of one statement: longer lists make plans and packets that nobody measured.
const maxList = 500

// appendIDs appends ids as "17,18,19".
func appendIDs(b []byte, ids []int64) []byte {
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, id, 10)
	}
	return b
}

// joinIDs is the stored form of the ids of a bell or claim: "17,18,19", readable in a SQL prompt.
func joinIDs(ids []int64) string {
	return string(appendIDs(make([]byte, 0, 12*len(ids)), ids))
}

// parseIDs reads the stored form. What is no id is left out: a listing is a hint (I3), the guards decide.
func parseIDs(s string) []int64 { return appendParsed(nil, s) }

// appendParsed appends the ids of a stored list to ids.
func appendParsed[T string | []byte](ids []int64, list T) []int64 {
	if ids == nil {
		ids = make([]int64, 0, len(list)/8+1)
	}
	var n int64
	digits, bad := 0, false
	for i := 0; i <= len(list); i++ {
		if i == len(list) || list[i] == ',' {
			if digits > 0 && digits <= 18 && !bad {
				ids = append(ids, n)
			}
			n, digits, bad = 0, 0, false
			continue
		}
		c := list[i] - '0'
		if c > 9 || digits >= 18 {
			bad = true
			continue
		}
		n, digits = n*10+int64(c), digits+1
	}
	return ids
}

// sortedIDs is a sorted copy of ids without doubles.
func sortedIDs(ids []int64) []int64 {
	out := slices.Clone(ids)
	slices.Sort(out)
	return slices.Compact(out)
}

// text builds one statement. Numbers are written into the text: they need no escaping, and a list of 500 placeholders
// costs more on both sides than the digits do.
type text struct{ b []byte }

// newText makes room for a statement with that many ids.
func newText(ids int) *text { return &text{b: make([]byte, 0, 320+20*ids)} }

// s appends a piece of SQL.
func (x *text) s(piece string) *text {
	x.b = append(x.b, piece...)
	return x
}

// n appends a number.
func (x *text) n(v int64) *text {
	x.b = strconv.AppendInt(x.b, v, 10)
	return x
}

// ids appends a list.
func (x *text) ids(ids []int64) *text {
	x.b = appendIDs(x.b, ids)
	return x
}

// anyOf appends a condition that column is one of the sorted ids. Where they follow each other, as those of a batch do, it
// names stretches: one walk along the index instead of a dive for each id. A stretch holds no id that is not in the list.
func (x *text) anyOf(column string, ids []int64) *text {
	type stretch struct{ from, to int64 }
	const most = 8
	var found [most]stretch
	n := 0
	for i, id := range ids {
		if i > 0 && id == ids[i-1]+1 {
			found[n-1].to = id
			continue
		}
		if n == most || n == 1+len(ids)/16 {
			return x.s(column).s(" IN (").ids(ids).s(")")
		}
		found[n] = stretch{id, id}
		n++
	}
	x.s("(")
	for i, f := range found[:n] {
		if i > 0 {
			x.s(" OR ")
		}
		x.s(column).s(" BETWEEN ").n(f.from).s(" AND ").n(f.to)
	}
	return x.s(")")
}

// ints appends a list of small ids.
func (x *text) ints(ids []int32) *text {
	for i, id := range ids {
		if i > 0 {
			x.b = append(x.b, ',')
		}
		x.b = strconv.AppendInt(x.b, int64(id), 10)
	}
	return x
}

// row appends "(1,2,3)", with a comma before it when it is not the first of a VALUES list.
func (x *text) row(first bool, values ...int64) *text {
	if !first {
		x.b = append(x.b, ',')
	}
	x.b = append(x.b, '(')
	x.ids(values)
	x.b = append(x.b, ')')
	return x
}

const hexDigits = "0123456789abcdef"

// hex appends bytes as a literal, which both databases take as binary.
func (x *text) hex(p []byte) *text {
	x.b = append(x.b, "x'"...)
	for _, c := range p {
		x.b = append(x.b, hexDigits[c>>4], hexDigits[c&15])
	}
	x.b = append(x.b, '\'')
	return x
}

// keys appends a list of 32-byte keys.
func (x *text) keys(keys [][32]byte) *text {
	for i := range keys {
		if i > 0 {
			x.b = append(x.b, ',')
		}
		x.hex(keys[i][:])
	}
	return x
}

// String is the statement.
func (x *text) String() string { return string(x.b) }

// perID appends an expression that gives each of the sorted ids its value: the value itself, id + d where values grow as
// ids do, and else a balanced tree of CASEs over runs of ids, which costs log n comparisons a row, not n.
func (x *text) perID(ids, values []int64) *text {
	runs := runsOf(ids, values)
	return x.caseTree(runs)
}

// run is a stretch of sorted ids, up to last, whose values are all constant or all id + shift.
type run struct {
	last   int64
	shift  int64
	fixed  bool // value = shift
	length int
}

func runsOf(ids, values []int64) []run {
	runs := make([]run, 0, 4)
	for i, id := range ids {
		v := values[i]
		if len(runs) > 0 {
			r := &runs[len(runs)-1]
			switch {
			case r.length == 1 && v == values[i-1]:
				*r = run{id, v, true, 2}
				continue
			case r.fixed && v == r.shift, !r.fixed && v-id == r.shift:
				r.last, r.length = id, r.length+1
				continue
			}
		}
		runs = append(runs, run{id, v - id, false, 1})
	}
	return runs
}

func (x *text) caseTree(runs []run) *text {
	if len(runs) == 1 {
		if runs[0].fixed {
			return x.n(runs[0].shift)
		}
		return x.s("id+(").n(runs[0].shift).s(")")
	}
	half := len(runs) / 2
	x.s("CASE WHEN id<=").n(runs[half-1].last).s(" THEN ")
	x.caseTree(runs[:half]).s(" ELSE ")
	return x.caseTree(runs[half:]).s(" END")
}
