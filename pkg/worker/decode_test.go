package worker_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/pkg/worker"
	"github.com/taskweir/taskweir/pkg/worker/workertest"
)

// shape has a field of everything that JSON has.
type shape struct {
	Text  string
	Whole int32
	Real  float64
	Yes   bool
	List  []int
	Map   map[string]string
	Deep  *shape
	Raw   json.RawMessage
}

// decoded runs a payload through a handler and gives what it saw.
func decoded(t *testing.T, payload []byte, opts ...worker.KindOption) (got shape, called bool, end *workertest.Task) {
	t.Helper()
	w := worker.New()
	worker.Handle(w, "k", func(_ context.Context, x worker.Task[shape]) error {
		got, called = x.Payload, true
		return nil
	}, opts...)
	end = workertest.New(t, w).Run("k", json.RawMessage(payload))
	return got, called, end
}

// agrees says what holds for every payload: the handler is called with what encoding/json makes of it, or the task fails for good, once,
// and says why.
func agrees(t *testing.T, payload []byte) {
	t.Helper()
	var want shape
	err := json.Unmarshal(payload, &want)
	got, called, end := decoded(t, payload)
	if len(payload) == 0 {
		err = nil // no payload is null
	}
	switch {
	case err == nil && (!called || end.State != "succeeded" || !reflect.DeepEqual(got, want)):
		t.Errorf("%q: want %+v, got %+v, %s", payload, want, got, end)
	case err != nil && (called || end.Reason != "permanent" || len(end.Attempts) != 1 || end.Attempts[0].Code != "invalid_payload" ||
		!strings.Contains(end.Attempts[0].Message, err.Error()[:min(len(err.Error()), 1000)])):
		t.Errorf("%q: want %v, got %s", payload, err, end)
	}
}

// TestEveryPayloadIsDecodedOrSaysWhyNot takes payloads that fit and breaks them in one place: a byte changed, cut or put in.
func TestEveryPayloadIsDecodedOrSaysWhyNot(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	fits, broken := 0, 0
	for range 3_000 {
		v := shape{Text: strings.Repeat("é\"\\", r.IntN(3)), Whole: int32(r.Uint32()), Real: r.NormFloat64(), Yes: r.IntN(2) == 0, Raw: json.RawMessage(`{"a":[1,null]}`)}
		for range r.IntN(3) {
			v.List = append(v.List, r.IntN(100))
		}
		if r.IntN(2) == 0 {
			v.Map, v.Deep = map[string]string{"k": "v"}, &shape{Text: "deep"}
		}
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		at := r.IntN(len(raw))
		switch r.IntN(4) {
		case 0:
		case 1:
			raw[at] = `{}[]",:0tn `[r.IntN(11)]
		case 2:
			raw = raw[:at]
		default:
			raw = append(raw[:at:at], append([]byte{`{}[]",:0tn `[r.IntN(11)]}, raw[at:]...)...)
		}
		if json.Unmarshal(raw, new(shape)) == nil {
			fits++
		} else {
			broken++
		}
		agrees(t, raw)
	}
	if fits < 300 || broken < 300 {
		t.Errorf("%d fit and %d do not: too few of one", fits, broken)
	}
}

func FuzzPayload(f *testing.F) {
	for _, s := range []string{``, `null`, `{}`, `[]`, `{"Text":1}`, `{"Whole":2147483648}`, `{"Deep":{"Deep":{"Raw":[1]}}}`, `{"Text":"\ud800"}`, `{"a":1}{"b":2}`, "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) > 256<<10 {
			return
		}
		agrees(t, payload)
		// Strict refuses more, never less, and decodes to the same.
		strict, called, end := decoded(t, payload, worker.Strict())
		lenient, also, _ := decoded(t, payload)
		if called && (!also || !reflect.DeepEqual(strict, lenient)) {
			t.Errorf("%q: strict %+v, lenient %+v", payload, strict, lenient)
		}
		if !called && end.Attempts[0].Code != "invalid_payload" {
			t.Error(end)
		}
	})
}
