package payload

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/task"
)

type form struct {
	Name  string            `json:"name"`
	Count *int64            `json:"count"`
	List  []string          `json:"list"`
	Map   map[string]string `json:"map"`
	Flag  bool              `json:"flag"`
	Any   json.RawMessage   `json:"any"`
}

func TestDecode(t *testing.T) {
	for in, want := range map[string]string{
		`{}`: "", " \t\r\n{ } \n": "", `{"name":"x","count":9007199254740993,"list":["a"],"map":{"a":"b"},"flag":true,"any":[1, 2]}`: "",
		`{"name":null,"count":null,"list":null,"map":null}`: "",

		``: " type must be an object", ` `: " type must be an object", `null`: " type must be an object", `[]`: " type must be an object",
		`"x"`: " type must be an object", `1`: " type must be an object", "\xef\xbb\xbf{}": " type must be an object",
		`{`: " type is not valid JSON", `{"name":"x"`: " type is not valid JSON", `{"name":"x",}`: " type is not valid JSON", `{'name':1}`: " type is not valid JSON",
		`{"any":` + strings.Repeat("[", 100_000): " type is not valid JSON", `{"count":01}`: " type is not valid JSON",
		`{"any":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`: " type is not valid JSON",
		`{}{}`: " type must be one JSON value", `{} x`: " type must be one JSON value", `{}]`: " type must be one JSON value",

		`{"name":1}`: "name type must be a string", `{"count":"1"}`: "count type must be a whole number", `{"count":1.5}`: "count type must be a whole number",
		`{"count":1e30}`: "count type must be a whole number", `{"list":"x"}`: "list type must be a list", `{"list":[1]}`: "list type must be a string",
		`{"map":[]}`: "map type must be an object", `{"map":{"k":1}}`: "map type must be a string", `{"flag":"yes"}`: "flag type must be true or false",

		`{"nope":1}`: "nope unknown_field is not known", `{"a\"b":1}`: `a"b unknown_field is not known`, `{"ü\u0001":1}`: "ü\x01 unknown_field is not known",
		`{"":1}`: " unknown_field is not known", `{"Name":"x"}`: "Name unknown_field is not known", `{"name":"x","NAME":"y"}`: "NAME unknown_field is not known",
		`{"` + strings.Repeat("é", 100) + `":1}`: strings.Repeat("é", 40) + "… unknown_field is not known",
		`{"name":"x","name":"y"}`:                "name duplicate is given twice",
		`{"name":"x","n\u0061me":"y"}`:           "name duplicate is given twice",
	} {
		got := ""
		var f form
		if e := Decode([]byte(in), &f); e != nil {
			got = e.Field + " " + e.Rule + " " + e.Message
		}
		if got != want {
			t.Errorf("%.60s: %q, want %q", in, got, want)
		}
	}
}

func TestDecodeKeepsNumbersAndRawValues(t *testing.T) {
	var f form
	if e := Decode([]byte(`{"count":9007199254740993,"any":{"b" : 1.0, "a":12345678901234567890}}`), &f); e != nil {
		t.Fatal(e)
	}
	if *f.Count != 9007199254740993 || string(f.Any) != `{"b" : 1.0, "a":12345678901234567890}` {
		t.Errorf("%d %s", *f.Count, f.Any)
	}
}

func TestText(t *testing.T) {
	for want, e := range map[string]task.FieldError{
		"payload must be an object":       {Message: "must be an object"},
		"payload.url must be a string":    {Field: "url", Message: "must be a string"},
		"payload.args[0] must be shorter": {Field: "args[0]", Message: "must be shorter"},
	} {
		if got := Text(e); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"name":"x","count":1,"map":{"a":"b"},"any":[{}]}`, `{"Name":1}`, `{"a\"b":1}`, `{}{}`, `{"name":"\ud800"}`, "{\"\xff\":1}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var got form
		wrong := Decode(raw, &got)
		if wrong != nil {
			if wrong.Rule == "" || wrong.Message == "" || len(wrong.Field) > maxName+3 {
				t.Errorf("%+v", wrong)
			}
			return
		}
		// What is accepted is one object with our names only, each once.
		var object map[string]json.RawMessage
		if err := json.Unmarshal(raw, &object); err != nil {
			t.Fatalf("accepted %q: %v", raw, err)
		}
		for name := range object {
			if !strings.Contains(" name count list map flag any ", " "+name+" ") {
				t.Errorf("accepted the field %q", name)
			}
		}
	})
}
