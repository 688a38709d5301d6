package task

import (
	"bytes"
	"reflect"
	"testing"
)

func TestBodyKeepsThePayloadByteForByte(t *testing.T) {
	p := DefaultRetry()
	p.Max = 9
	for _, b := range []Body{
		{Payload: []byte("null")},
		{Payload: []byte("{ \"a\" : 1.50 }\n")},
		{Payload: []byte("{}"), Head: BodyHead{Retry: &p, UniqueKey: "k", UniqueScope: ScopeWindow, Labels: map[string]string{"a": "b"}, RetryOf: 7}},
	} {
		raw, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeBody(raw)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Payload, b.Payload) || !reflect.DeepEqual(got.Head, b.Head) {
			t.Errorf("got %+v, want %+v", got, b)
		}
	}
}

func TestPlainBodyCostsTwoBytes(t *testing.T) {
	raw, err := Body{Payload: []byte("{}")}.Encode()
	if err != nil || len(raw) != 4 {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
}

func FuzzDecodeBody(f *testing.F) {
	raw, err := Body{Payload: []byte(`{"a":1}`), Head: BodyHead{UniqueKey: "k"}}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{1, 0})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := DecodeBody(raw)
		if err == nil && len(b.Payload) > len(raw) {
			t.Errorf("payload of %d bytes from %d", len(b.Payload), len(raw))
		}
	})
}
