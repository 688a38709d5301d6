package httpcall

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// plainPayloads are read by hand; the others take the decoder.
var plainPayloads = []string{
	`{"url":"http://x/"}`,
	` { "url" : "http://x/?a=b" , "method" : "PUT" , "headers" : { "a" : "b" , "A" : "" } , "body" : [ 1 , "\"]}" , {"a":"\\"} ] } `,
	`{"body":null,"url":"http://x"}`, `{"body":-1.5e3}`, `{"body":"}"}`, `{"body":true }`, `{"headers":{},"body":{}}`, `{}`,
}

var oddPayloads = []string{
	``, `null`, `[]`, `{`, `{"url"}`, `{"url":}`, `{"url":1}`, `{"url":null}`, `{"url":"a\u0062"}`, `{"url":"\u00e9"}`, "{\"url\":\"\xff\"}", `{"URL":"x"}`,
	`{"url":"a","url":"b"}`, `{"headers":{"a":1}}`, `{"headers":null}`, `{"other":1}`, `{"body":01}`, `{"body":]}`, `{"body":[}`, `{"body":"a}`, `{"body":}`,
	`{"body":1 2}`, `{"url":"x"}{}`, `{"url":"x",}`, `{"body":{"a":1}`, `{"body":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`,
}

func TestPlainPayloadsAreReadByHand(t *testing.T) {
	for _, text := range plainPayloads {
		var p spec
		if s := (scan{rest: []byte(text)}); !s.spec(&p) {
			t.Errorf("%s took the decoder", text)
		}
	}
	for _, text := range oddPayloads {
		var p spec
		if s := (scan{rest: []byte(text)}); s.spec(&p) {
			t.Errorf("%.60q was read by hand: %+v", text, p)
		}
	}
}

// FuzzRead: what is read by hand is what the decoder reads.
func FuzzRead(f *testing.F) {
	for _, text := range append(plainPayloads, oddPayloads...) {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var got, want spec
		gotErr, wantErr := got.read(raw), json.Unmarshal(raw, &want)
		if (gotErr == nil) != (wantErr == nil) || wantErr == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as %+v (%v), want %+v (%v)", raw, got, gotErr, want, wantErr)
		}
	})
}
