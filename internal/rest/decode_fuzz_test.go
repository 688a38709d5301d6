package rest

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
)

// scans are the decoders of request bodies, each with what it makes of one. The payload of a task is kept as it was written, so
// it is left out of what is compared.
var scans = map[string]func(s *httpkit.Scanner) any{
	"task": func(s *httpkit.Scanner) any { return bare(decodeInput(s)) },
	"batch": func(s *httpkit.Scanner) any {
		ins := decodeBatch(s)
		for i := range ins {
			ins[i] = bare(ins[i])
		}
		return ins
	},
	"retry":  func(s *httpkit.Scanner) any { return decodeRetry(s) },
	"delays": func(s *httpkit.Scanner) any { return decodeDelays(s) },
	"labels": func(s *httpkit.Scanner) any { return decodeLabels(s) },
	"limits": func(s *httpkit.Scanner) any { return decodeLimits(s) },
	"bulk": func(s *httpkit.Scanner) any {
		in := &control.BulkInput{}
		s.Object(func(key []byte) { decodeBulk(s, in, key) })
		return in
	},
	"filter": func(s *httpkit.Scanner) any {
		in := &control.BulkInput{}
		s.Object(func(key []byte) { decodeBulkFilter(s, in, key) })
		return in
	},
	"schedule": func(s *httpkit.Scanner) any {
		in := &control.ScheduleInput{}
		s.Object(func(key []byte) { scheduleMember(s, in, key) })
		in.Task = bare(in.Task)
		return in
	},
	"schedule's task": func(s *httpkit.Scanner) any {
		in := &control.ScheduleInput{}
		decodeScheduleTask(s, in)
		return bare(in.Task)
	},
	"spec":    func(s *httpkit.Scanner) any { return decodeSpec(s) },
	"misfire": func(s *httpkit.Scanner) any { return decodeMisfire(s) },
}

func bare(in *control.Input) *control.Input {
	if in == nil {
		return nil
	}
	out := *in
	out.Payload = nil
	return &out
}

// FuzzDecoders gives anything to each decoder: what one takes is JSON, and means the same, and breaks the same rules, when it
// is written without spaces.
func FuzzDecoders(f *testing.F) {
	for _, s := range []string{
		`{"kind":"echo","payload":{"a":[1, 2]},"retry":{"policy":"fixed","baseMs":1,"jitter":0.5,"max":3,"delaysMs":[1,"x"]},"labels":{"a":"b"},"runAt":"2030-01-01T00:00:00Z"}`,
		`{"tasks":[{"kind":"echo"},5,null,{"kind":1,"kind":2}]}`, `[1, 2, null]`, `{"a":"b","c":1}`, `{"concurrency":3,"rate":{"tasks":1,"perMs":1000,"burst":null}}`,
		`{"action":"cancel","filter":{"state":"queued","labels":{"a":"b"},"ids":["1",2],"from":"2030-01-01T00:00:00Z"},"dryRun":true}`,
		`{"name":"n","spec":{"cron":"* * * * *","everyMs":null},"task":{"kind":"echo"},"misfire":{"policy":"all","maxAgeMs":1},"id":"1"}`,
		`{"cron":"\u002a","at":"x","anchor":5}`, `{"policy":"once","maxAgeMs":1e3}`, "null", "", `{"`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for name, scan := range scans {
			first, rules, err := scanned(scan, raw)
			if err != nil {
				continue
			}
			if !json.Valid(raw) {
				t.Fatalf("%s takes %q, which is no JSON", name, raw)
			}
			var compact bytes.Buffer
			if err := json.Compact(&compact, raw); err != nil {
				t.Fatal(err)
			}
			again, sameRules, err := scanned(scan, compact.Bytes())
			if err != nil || !reflect.DeepEqual(first, again) || !reflect.DeepEqual(rules, sameRules) {
				t.Fatalf("%s of %q: %+v, %v\nof %q: %+v, %v, %v", name, raw, first, rules, compact.Bytes(), again, sameRules, err)
			}
		}
	})
}

func scanned(scan func(*httpkit.Scanner) any, raw []byte) (any, []task.FieldError, error) {
	s := httpkit.NewScanner(bytes.Clone(raw))
	v := scan(s)
	return v, s.Broken(), s.End()
}
