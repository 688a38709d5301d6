package system

import (
	"encoding/json"
	"testing"
)

func TestPayloadIsJSONOfItsSizeAndReadBack(t *testing.T) {
	for _, task := range []Task{{Number: 1}, {Number: 9_999_999, Kind: Call}, {Number: 1 << 52, Kind: Wait}} {
		p := task.Payload()
		if len(p) != PayloadSize || !json.Valid(p) {
			t.Errorf("%d bytes, valid %v: %s", len(p), json.Valid(p), p)
		}
		if got, err := ParsePayload(p); err != nil || got != task {
			t.Errorf("got %+v, %v, want %+v", got, err, task)
		}
	}
}

func TestForeignPayloadsAreRefused(t *testing.T) {
	for _, p := range []string{"", "{}", `{"kind":9,"number":1,"pad":""}`, `{"kind":0,"number":x,"pad":""}`, `{"kind":0,"nombre":12345,"pad":""}`} {
		if got, err := ParsePayload([]byte(p)); err == nil {
			t.Errorf("%q was read as %+v", p, got)
		}
	}
}
