package compat

import (
	"slices"
	"strconv"
	"strings"

	"github.com/taskweir/taskweir/internal/httpkit"
)

// MaxText bounds the text that a signature covers, in bytes: joining long names with many parts could make any length of
// a small body.
const MaxText = 4 << 20

// maxWork bounds what taking JSON values apart may cost, in bytes that are looked at or written: each level of a nested value is
// looked at anew. A content of the largest size may be nested to the last level that is joined.
const maxWork = 8 << 20

// Form says which of the ways to write parameters down is meant.
type Form struct {
	DropEmpty bool // leave out what PHP calls empty ("", "0", 0, false, null), as older clients do
	Compact   bool // write a value that came as a JSON object as its JSON text instead of name by name
}

// Append appends the parameters as PHP joins them: sorted by name, byte by byte, "name=value" without escapes and with "&"
// between; true is 1 and false 0, null is left out, a value with parts is "name[key]=value" for each, in the order sent. ok is false
// when the text would be longer than MaxText or its parts are nested too deep.
func (p Params) Append(dst []byte, f Form) (out []byte, ok bool) {
	sorted := slices.Clone(p)
	slices.SortFunc(sorted, func(a, b Param) int { return strings.Compare(a.Name, b.Name) })
	w := joiner{out: dst, from: len(dst)}
	for i := range sorted {
		v := sorted[i].Value
		if f.DropEmpty && v.falsy() {
			continue
		}
		if f.Compact {
			if raw, ok := v.Compact(); ok {
				v = Text(string(raw))
			}
		}
		w.value(sorted[i].Name, v, 0)
	}
	return w.out, !w.over
}

// flat is what a JSON object or array is in a text, in both ways to write it down.
type flat struct {
	pairs   []byte
	over    bool // the pairs cannot be joined
	compact []byte
}

// Flatten gives the same parameters with the objects and arrays among them taken apart once, for those who append them several
// times. What it costs is bounded for all of them together.
func (p Params) Flatten() Params {
	if !p.HasObject() {
		return p
	}
	out := slices.Clone(p)
	work := 0
	for i := range out {
		v := &out[i].Value
		if v.kind != nestedJSON {
			continue
		}
		w := joiner{work: work}
		w.json(out[i].Name, v.raw, 1)
		compact, _ := v.Compact() // it is JSON
		v.flat = &flat{w.out, w.over, compact}
		work = w.work
	}
	return out
}

// HasObject reports whether some value came as a JSON object or array, so that Form.Compact makes a difference.
func (p Params) HasObject() bool {
	return slices.ContainsFunc(p, func(x Param) bool { return x.Value.kind == nestedJSON })
}

// HasEmpty reports whether Form.DropEmpty makes a difference.
func (p Params) HasEmpty() bool {
	return slices.ContainsFunc(p, func(x Param) bool { return x.Value.falsy() })
}

// joiner writes pairs.
type joiner struct {
	out  []byte
	from int
	work int // towards maxWork
	over bool
}

func (w *joiner) pair(name, value string) {
	if w.over = w.over || len(w.out)-w.from+len(name)+len(value) > MaxText; w.over {
		return
	}
	if len(w.out) > w.from {
		w.out = append(w.out, '&')
	}
	w.out = append(append(append(w.out, name...), '='), value...)
}

func (w *joiner) value(name string, v Value, depth int) {
	if w.over = w.over || depth > maxNested; w.over {
		return
	}
	switch v.kind {
	case null:
	case boolean:
		if v.text == "" {
			v.text = "0"
		}
		w.pair(name, v.text)
	case nestedForm:
		for _, x := range v.sub {
			w.value(name+"["+x.Name+"]", x.Value, depth+1)
		}
	case nestedJSON:
		if v.flat != nil && depth == 0 {
			w.joined(v.flat)
			return
		}
		w.json(name, v.raw, depth+1)
	default:
		w.pair(name, v.text)
	}
}

// joined writes what was joined before, which may be nothing.
func (w *joiner) joined(f *flat) {
	if w.over = w.over || f.over || len(w.out)-w.from+len(f.pairs) > MaxText; w.over || len(f.pairs) == 0 {
		return
	}
	if len(w.out) > w.from {
		w.out = append(w.out, '&')
	}
	w.out = append(w.out, f.pairs...)
}

func (w *joiner) json(name string, raw []byte, depth int) {
	if w.work += len(raw); w.work > maxWork {
		w.over = true
		return
	}
	s := httpkit.NewScanner(raw)
	part := func(key string) {
		one := s.Raw()
		if one == nil || w.over {
			return
		}
		if w.work += len(name) + len(key); w.work > maxWork {
			w.over = true
			return
		}
		w.value(name+"["+key+"]", jsonValue(one), depth)
	}
	if raw[0] == '{' {
		s.Object(func(key []byte) { part(string(key)) })
	} else {
		s.Array(func(i int) { part(strconv.Itoa(i)) })
	}
	w.over = w.over || s.End() != nil || len(s.Broken()) > 0
}
