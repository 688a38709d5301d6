package apiv1_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

var full = apiv1.Task{
	ID: 1, App: "app", Kind: "k", Queue: "q", Priority: "high", State: "failed", Reason: "exhausted", Payload: json.RawMessage(`{"a": 1}`), Result: json.RawMessage(`"r"`),
	ResultTruncated: true, Error: &apiv1.TaskError{Code: "c", Message: "m\"\\\n\x01ü", HTTPStatus: 500}, Failures: 2, Losses: 1, RetryOf: 9, ScheduleID: 16, Slot: 7, UniqueKey: "u", ExpiresAt: 5000, Zombie: true,
	RunAt: 1, CreatedAt: 2, StartedAt: 3, FinishedAt: 4, TimeoutMs: -1, Retry: apiv1.RetryInForce{Policy: "list", BaseMs: 1, CapMs: 2, Jitter: 0.25, Max: 3, DelaysMs: []int64{1, 2}},
	Labels: map[string]string{"b": "2", "a": "1"}, CancelRequestedAt: 6, CompletionURL: "https://x", CompleteBy: 8, Progress: json.RawMessage(`{"p":0.5}`),
	Attempts: []apiv1.Attempt{{ID: 11, Epoch: 1, Worker: 12, StartedAt: 3, FinishedAt: 4, Outcome: "failed", Error: &apiv1.TaskError{Code: "x", Message: "y"}, HTTPStatus: 502, LogTail: "log"}, {ID: 13, Epoch: 2}},
	Verdict:  &apiv1.Verdict{Code: "final", Text: "t"},
}

func TestTaskRoundTrip(t *testing.T) {
	raw := full.AppendJSON(nil)
	var got apiv1.Task
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	if !reflect.DeepEqual(got, full) {
		t.Errorf("%s\ncame back as\n%+v", raw, got)
	}
	if !strings.Contains(string(raw), `"payload":{"a": 1},`) {
		t.Errorf("the payload was touched: %s", raw)
	}
	if !strings.Contains(string(raw), `"id":"1"`) || !strings.Contains(string(raw), `"expiresAt":"1970-01-01T00:00:05.000Z"`) {
		t.Errorf("%s", raw)
	}
}

// TestWriterKnowsEveryField fails when a field is added to a struct and not to its writer.
func TestWriterKnowsEveryField(t *testing.T) {
	var members map[string]json.RawMessage
	raw := full.AppendJSON(nil)
	if err := json.Unmarshal(raw, &members); err != nil {
		t.Fatal(err)
	}
	hasAll(t, reflect.TypeFor[apiv1.Task](), raw)
	hasAll(t, reflect.TypeFor[apiv1.RetryInForce](), members["retry"])
	hasAll(t, reflect.TypeFor[apiv1.TaskError](), members["error"])
	hasAll(t, reflect.TypeFor[apiv1.Verdict](), members["verdict"])
	var attempts []json.RawMessage
	if err := json.Unmarshal(members["attempts"], &attempts); err != nil {
		t.Fatal(err)
	}
	hasAll(t, reflect.TypeFor[apiv1.Attempt](), attempts[0])
}

func hasAll(t *testing.T, typ reflect.Type, raw []byte) {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		t.Fatal(err)
	}
	if len(members) != typ.NumField() {
		t.Errorf("%s has %d fields, %d are written", typ, typ.NumField(), len(members))
	}
	for i := range typ.NumField() {
		name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		if _, ok := members[name]; !ok {
			t.Errorf("%s.%s is not written", typ, typ.Field(i).Name)
		}
	}
}

func TestWhatATaskHasNotIsNull(t *testing.T) {
	raw := string((&apiv1.Task{ID: 1, State: "queued"}).AppendJSON(nil))
	for _, name := range []string{"reason", "payload", "result", "error", "retryOf", "scheduleId", "slot", "uniqueKey", "expiresAt", "startedAt", "finishedAt", "cancelRequestedAt", "completionUrl", "completeBy", "progress"} {
		if !strings.Contains(raw, `"`+name+`":null`) {
			t.Errorf("%s is not null: %s", name, raw)
		}
	}
	if !strings.Contains(raw, `"labels":{}`) || !strings.Contains(raw, `"attempts":[]`) || strings.Contains(raw, "verdict") {
		t.Errorf("%s", raw)
	}
}

func TestStringsAreEscaped(t *testing.T) {
	for _, s := range []string{"", "plain", "\"\\\b\f\n\r\t\x00\x1f", "ü€𝄞", "a\xffb\xc3", "</script>"} {
		raw := (&apiv1.Task{Kind: s}).AppendJSON(nil)
		var got apiv1.Task
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Errorf("%q: %v in %s", s, err, raw)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); got.Kind != want {
			t.Errorf("%q came back as %q", s, got.Kind)
		}
	}
}

func TestSubmitKeepsThePayload(t *testing.T) {
	delay := int64(5)
	s := apiv1.SubmitBatch{Tasks: []apiv1.Submit{{Kind: "a", Payload: json.RawMessage(`{ "x" : "<>" }`), DelayMs: &delay}, {Kind: "b"}}}
	raw, err := s.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"tasks":[{"kind":"a","delayMs":5,"payload":{ "x" : "<>" }},{"kind":"b"}]}`; string(raw) != want {
		t.Errorf("%s\nwant\n%s", raw, want)
	}
}

func TestIDs(t *testing.T) {
	for s, want := range map[string]apiv1.ID{"1": 1, "9007199254740991": 1<<53 - 1, "9007199254740992": 0, "0": 0, "-1": 0, "+1": 0, "": 0, "1x": 0, " 1": 0} {
		got, err := apiv1.ParseID(s)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("ParseID(%q) = %d, %v", s, got, err)
		}
	}
	var x struct{ A, B, C apiv1.ID }
	if err := json.Unmarshal([]byte(`{"A":"7","B":8,"C":null}`), &x); err != nil || x.A != 7 || x.B != 8 || x.C != 0 {
		t.Errorf("%+v %v", x, err)
	}
}

func TestTimes(t *testing.T) {
	for s, want := range map[string]int64{"1970-01-01T00:00:01Z": 1000, "1970-01-01T02:00:01.5+02:00": 1500, "1970-01-01T00:00:00.0001Z": 1, "1970-01-01T00:00:00.001Z": 1, "1969-12-31T23:59:59.9999Z": 0} {
		if got, err := apiv1.ParseTime(s); err != nil || int64(got) != want {
			t.Errorf("ParseTime(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "2030-01-01", "2030-01-01T00:00:00", "now", "2030-13-01T00:00:00Z"} {
		if _, err := apiv1.ParseTime(s); err == nil {
			t.Errorf("ParseTime(%q) took it", s)
		}
	}
	at := time.Date(2030, 1, 2, 3, 4, 5, 6_000_000, time.UTC)
	if got := apiv1.Time(at.UnixMilli()).String(); got != "2030-01-02T03:04:05.006Z" {
		t.Error(got)
	}
	if got := apiv1.TimeOf(at.Add(-1)); int64(got) != at.UnixMilli() {
		t.Errorf("what is finer than a millisecond must be rounded up: %s", got)
	}
	if got := apiv1.TimeOf(time.Time{}); got != 0 {
		t.Errorf("the zero time became %s", got)
	}
}
