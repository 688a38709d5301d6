package history

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// refused puts a call into a history that was refused.
func refused(kind OpKind, status int, code string, want Want) func(*History, *rand.Rand) {
	return func(h *History, r *rand.Rand) {
		at := 80*time.Second + time.Duration(r.IntN(50))*time.Second
		o := Op{N: 99_999, Kind: kind, Tries: 1, Sent: at, LastSent: at, Answered: at + 3*ms, Status: status, Code: code, Items: []Item{{Status: status, Code: code}}}
		switch kind {
		case OpSubmit, OpBatch, OpReplay, OpMisuse:
			want.Tag, want.Kind, want.Queue, want.Priority = "refused.0", "http", "plain0", "normal"
			o.Wants = []Want{want}
		default:
			o.Task = pickRow(h, r, plainSuccess(h)).ID
		}
		h.Ops = append(h.Ops, o)
	}
}

// item refuses one task of a batch.
func item(status int, code string) func(*History, *rand.Rand) {
	return func(h *History, r *rand.Rand) {
		refused(OpBatch, status, code, Want{})(h, r)
		h.Ops[len(h.Ops)-1].Status = 207
	}
}

var wronglyRefused = []planted{
	{"a submit whose key is not known", RuleAnswer, refused(OpSubmit, 401, "unauthorized", Want{})},
	{"a submit that may not", RuleAnswer, refused(OpSubmit, 403, "forbidden", Want{})},
	{"a submit with a body that is fine", RuleAnswer, refused(OpSubmit, 422, "invalid", Want{})},
	{"a submit that has not expired yet", RuleAnswer, refused(OpSubmit, 422, "invalid", Want{ExpiresInMs: 1000})},
	{"a submit that keeps what is there", RuleAnswer, refused(OpSubmit, 409, "unique_key_taken", Want{Unique: &Unique{Key: "the key", OnConflict: "keep"}})},
	{"a submit without a unique key", RuleAnswer, refused(OpSubmit, 409, "unique_key_taken", Want{})},
	{"a whole batch", RuleAnswer, refused(OpBatch, 404, "not_found", Want{})},
	{"a task of a batch", RuleAnswer, item(403, "forbidden")},
	{"a replay", RuleAnswer, refused(OpReplay, 409, "unique_key_taken", Want{Unique: &Unique{Key: "the key", OnConflict: "reject"}})},
	{"a misused key, for another reason", RuleAnswer, refused(OpMisuse, 422, "invalid", Want{})},
	{"a cancel of a task that is there", RuleAnswer, refused(OpCancel, 404, "not_found", Want{})},
	{"a cancel", RuleAnswer, refused(OpCancel, 409, "not_waiting", Want{})},
	{"a retry of a task that is there", RuleAnswer, refused(OpRetry, 404, "not_found", Want{})},
	{"a retry, for the reason of a run now", RuleAnswer, refused(OpRetry, 409, "not_waiting", Want{})},
	{"a run now", RuleAnswer, refused(OpRunNow, 409, "not_retryable", Want{})},
	{"a completion", RuleAnswer, refused(OpComplete, 401, "unauthorized", Want{})},
	{"a look", RuleAnswer, refused(OpRead, 404, "not_found", Want{})},
}

// A call that is refused without a reason is found, whatever it asked for.
func TestWrongRefusalsAreFound(t *testing.T) {
	for _, p := range wronglyRefused {
		t.Run(p.name, func(t *testing.T) {
			for seed := range uint64(10) {
				h := legal(seed)
				p.plant(h, rand.New(rand.NewPCG(seed, 19)))
				if r := Check(h); !slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Rule == p.rule }) {
					t.Fatalf("seed %d: not found; found: %s", seed, r.Summary(3))
				}
			}
		})
	}
}

// What a client has to expect is no violation.
func TestExpectedRefusals(t *testing.T) {
	late := refused(OpSubmit, 422, "invalid", Want{ExpiresInMs: 1000})
	for name, plant := range map[string]func(*History, *rand.Rand){
		"a retry that came too late":   refused(OpRetry, 409, "not_retryable", Want{}),
		"a run now that came too late": refused(OpRunNow, 409, "not_waiting", Want{}),
		"a completion after its time":  refused(OpComplete, 409, "completion_too_late", Want{}),
		"a submit after its expiry": func(h *History, r *rand.Rand) {
			late(h, r)
			h.Ops[len(h.Ops)-1].Answered += 2 * time.Second
		},
		"an expiry that is past by a clock that was moved": func(h *History, r *rand.Rand) {
			late(h, r)
			at := h.Ops[len(h.Ops)-1].Sent
			h.Faults = append(h.Faults, Fault{N: 9, Kind: "clock", Injected: at - 8*time.Second, Ended: at - time.Second, Parts: []string{PartClock}})
		},
		"a call that waited for the rows of a stopped worker": func(h *History, _ *rand.Rand) {
			h.Ops[0].Failed = []Try{{Sent: 22 * time.Second, Over: 27100 * ms, Status: 503, Code: "database_unavailable"}}
		},
	} {
		h := legal(3)
		plant(h, rand.New(rand.NewPCG(3, 23)))
		if r := Check(h); !r.OK() {
			t.Errorf("%s: %s", name, r.Summary(3))
		}
	}
}
