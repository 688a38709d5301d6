package events

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/task"
)

// decode reads a whole entry.
func decode(b []byte) (missed bool, out []task.Change, err error) {
	missed, err = each(b, func(c *task.Change) { out = append(out, *c) })
	return missed, out, err
}

func anyChange(r *rand.Rand) task.Change {
	c := task.Change{Type: task.ChangeType(1 + r.IntN(4)), State: task.State(1 + r.IntN(6)), Outcome: task.Outcome(r.IntN(8)), Reason: task.Reason(r.IntN(10)),
		Epoch: r.Int32N(50), AppID: r.Int32N(3), LaneID: r.Int32N(3), KindID: r.Int32N(3), TaskID: r.Int64N(1 << 53), At: 1_700_000_000_000 + r.Int64N(1000)}
	if r.IntN(2) == 0 {
		c.WorkerID = r.Int64N(5)
	}
	if r.IntN(3) == 0 {
		c.DueAt = c.At + r.Int64N(1<<30) - 1000
	}
	if r.IntN(3) == 0 {
		c.HTTPStatus, c.ErrCode, c.ErrMessage = int16(r.IntN(600)), "code", strings.Repeat("x", r.IntN(maxText))
	}
	return c
}

func TestChangesComeBackAsTheyWere(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		want := make([]task.Change, r.IntN(60))
		missed := r.IntN(2) == 0
		b, last := appendHead(nil, missed), task.Change{}
		for i := range want {
			want[i] = anyChange(r)
			b = appendChange(b, &want[i], &last)
			last = want[i]
		}
		gap, got, err := decode(b)
		if err != nil || gap != missed || len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Fatalf("%v %v\n%+v\n%+v", gap, err, got, want)
		}
	}
}

// A plain success of a batch is a few bytes: ten minutes of thousands a second have to fit into Redis.
func TestAPlainSuccessIsSmall(t *testing.T) {
	c := task.Change{Type: task.ChangeEnded, State: task.Succeeded, Outcome: task.OutcomeSucceeded, Epoch: 1, AppID: 7, LaneID: 3, KindID: 9, TaskID: 1 << 40, WorkerID: 5, At: 1_700_000_000_000}
	next := c
	next.TaskID, next.At = c.TaskID+1, c.At+1
	if b := appendChange(nil, &next, &c); len(b) > 8 {
		t.Fatalf("%d bytes", len(b))
	}
}

func FuzzEntry(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	b, last := appendHead(nil, true), task.Change{}
	for range 5 {
		c := anyChange(r)
		b = appendChange(b, &c, &last)
		last = c
	}
	f.Add(b)
	f.Add([]byte{entryVersion, 0, 1})
	f.Add(append(appendHead(nil, false), 1))
	f.Fuzz(func(t *testing.T, raw []byte) {
		missed, list, err := decode(raw)
		if err != nil {
			return
		}
		again, last := appendHead(nil, missed), task.Change{}
		for i := range list {
			again = appendChange(again, &list[i], &last)
			last = list[i]
		}
		gap, twice, err := decode(again)
		if err != nil || gap != missed || len(twice) != len(list) || len(list) > 0 && !reflect.DeepEqual(twice, list) {
			t.Fatalf("%v\n%+v\n%+v", err, list, twice)
		}
	})
}

func FuzzPosition(f *testing.F) {
	f.Add("abc-1795347207849-0-17")
	f.Add("-1-2-3")
	f.Add("a-18446744073709551615-18446744073709551615-65535")
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := parsePosition(s)
		if !ok {
			return
		}
		if again, ok := parsePosition(p.String()); !ok || again != p {
			t.Fatalf("%q is %+v, and again %+v", s, p, again)
		}
	})
}
