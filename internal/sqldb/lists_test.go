package sqldb

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestListsRoundTrip(t *testing.T) {
	for range 200 {
		ids := make([]int64, rand.IntN(20))
		for i := range ids {
			ids[i] = rand.Int64N(1 << rand.IntN(53))
		}
		if got := parseIDs(joinIDs(ids)); !slices.Equal(got, ids) {
			t.Fatalf("%v became %v", ids, got)
		}
	}
}

// FuzzParseIDs: whatever stands in a listing, parsing ends, keeps clean lists as they are and gives ids only.
func FuzzParseIDs(f *testing.F) {
	for _, s := range []string{"", "1", "1,2,3", ",,1,x,-5,99999999999999999999,7 ", "0007"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ids := parseIDs(s)
		for _, id := range ids {
			if id < 0 {
				t.Fatalf("%q gave %d", s, id)
			}
		}
		if again := parseIDs(joinIDs(ids)); !slices.Equal(again, ids) {
			t.Fatalf("%q gave %v, then %v", s, ids, again)
		}
	})
}

func TestStretches(t *testing.T) {
	long := make([]int64, 100)
	for i := range long {
		long[i] = int64(i + 5)
	}
	for _, c := range []struct {
		ids  []int64
		want string
	}{
		{[]int64{7}, "(id BETWEEN 7 AND 7)"},
		{[]int64{7, 9}, "id IN (7,9)"},
		{long, "(id BETWEEN 5 AND 104)"},
		{append(slices.Clone(long), 200, 201), "(id BETWEEN 5 AND 104 OR id BETWEEN 200 AND 201)"},
	} {
		if got := newText(0).anyOf("id", c.ids).String(); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

// Whatever values sorted ids have, the expression gives each its own.
func TestPerID(t *testing.T) {
	for range 300 {
		n := 1 + rand.IntN(30)
		ids, values := make([]int64, n), make([]int64, n)
		id, mode := int64(rand.IntN(50)), rand.IntN(4)
		for i := range ids {
			id += 1 + rand.Int64N(3)
			ids[i] = id
			switch mode {
			case 0:
				values[i] = 1000 + int64(i)
			case 1:
				values[i] = 5 + int64(rand.IntN(2))
			case 2:
				values[i] = id + 77
			default:
				values[i] = rand.Int64N(1000)
			}
		}
		runs := runsOf(ids, values)
		for i, id := range ids {
			at := slices.IndexFunc(runs, func(r run) bool { return id <= r.last })
			got := runs[at].shift
			if !runs[at].fixed {
				got += id
			}
			if got != values[i] {
				t.Fatalf("id %d: %d, want %d by %s", id, got, values[i], fmt.Sprint(runs))
			}
		}
	}
}

func FuzzDecodeDetail(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(encodeDetail("code", "message", []byte("log"), []byte(`{"method":"POST"}`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := decodeDetail(b)
		again := decodeDetail(encodeDetail(d.Code, d.Message, d.Log, d.Delivery))
		if len(d.Message) < 2000 && len(d.Log) < 60_000 && (again.Code != d.Code || string(again.Log) != string(d.Log)) {
			t.Fatalf("%+v became %+v", d, again)
		}
	})
}
