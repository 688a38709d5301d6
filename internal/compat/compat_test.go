package compat

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"mime/multipart"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

func join(t testing.TB, p Params, f Form) string {
	t.Helper()
	out, ok := p.Append([]byte("before"), f)
	if !ok {
		t.Fatal("cannot be joined")
	}
	return strings.TrimPrefix(string(out), "before")
}

func TestParametersAreJoinedAsPHPDoes(t *testing.T) {
	for _, c := range []struct{ kind, body, want, dropped string }{
		{"", "b=2&a=1", "a=1&b=2", ""},
		{"", "a_key=1&aKey=2&A=3&a-key=4", "A=3&a-key=4&aKey=2&a_key=1", ""},
		{"", "x=%E5%BC%A0+%26%3D%zz&y", "x=张 &=%zz&y=", "x=张 &=%zz"},
		{"", "a[]=1&a[]=2&a[k][x]=3&a[5]=4&a[]=5", "a[0]=1&a[1]=2&a[k][x]=3&a[5]=4&a[6]=5", ""},
		{"", "a=1&a=2&b[x]=1&b=2&c=1&c[y]=2", "a=2&b=2&c[y]=2", ""},
		{"", "a.b c=1& d=2&e[f=3&[g]=4", "_g]=4&a_b_c=1&d=2&e_f=3", ""},
		{"", "\xff.x=1&a b[c d]=2", "a_b[c d]=2&\xff_x=1", ""},
		{"", "z=&y=0&x=0.0&w=00", "w=00&x=0.0&y=0&z=", "w=00&x=0.0"},
		{"application/json", `{"b":"2","a":1}`, "a=1&b=2", ""},
		{"application/json; charset=utf-8", `{"n":12345678901234567890123,"f":1.50,"e":1E2,"t":true,"u":false,"v":null,"s":"","z":0.00,"o":"0"}`,
			"e=1E2&f=1.50&n=12345678901234567890123&o=0&s=&t=1&u=0&z=0.00", "e=1E2&f=1.50&n=12345678901234567890123&t=1"},
		{"application/json", `{"content":{"b":{"x":[1,"二",{"y":true}],"n":null},"a":[]},"a":"\u5f20"}`,
			"a=张&content[b][x][0]=1&content[b][x][1]=二&content[b][x][2][y]=1", ""},
		{"", ` {"content":"{\"a\":1}"}`, `content={"a":1}`, ""},
		{"application/json", "[]", "", ""},
		{"application/json", "", "", ""},
	} {
		p, err := Decode(c.kind, []byte(c.body))
		if err != nil {
			t.Errorf("%s: %v", c.body, err)
			continue
		}
		if got := join(t, p, Form{}); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.body, got, c.want)
		}
		if c.dropped == "" {
			c.dropped = c.want
		}
		if got := join(t, p, Form{DropEmpty: true}); got != c.dropped {
			t.Errorf("%s, without empty values\n got %s\nwant %s", c.body, got, c.dropped)
		}
	}
}

func TestObjectsHaveAJSONText(t *testing.T) {
	p, err := ParseJSON([]byte(`{ "content" : { "b" : 1.50, "a" : [ "\u5f20", "x\/y" ] }, "n": 1 }`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := join(t, p, Form{Compact: true}), `content={"b":1.50,"a":["\u5f20","x\/y"]}&n=1`; got != want || !p.HasObject() {
		t.Errorf("got %s, want %s", got, want)
	}
	if raw, ok := p.Get("n").Compact(); ok {
		t.Errorf("a number is %s", raw)
	}
}

func TestMultipart(t *testing.T) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	_ = w.WriteField("taskNo", "a=6&b")
	_ = w.WriteField("c[x]", "1")
	f, _ := w.CreateFormFile("file", "x.txt")
	_, _ = f.Write([]byte("no parameter"))
	_ = w.Close()
	p, err := Decode(w.FormDataContentType(), b.Bytes())
	if err != nil || join(t, p, Form{}) != "c[x]=1&taskNo=a=6&b" {
		t.Errorf("%v %s", err, join(t, p, Form{}))
	}
	for _, kind := range []string{"multipart/form-data", "multipart/form-data; boundary=other"} {
		if _, err := Decode(kind, b.Bytes()); err == nil {
			t.Errorf("%s: no error", kind)
		}
	}
}

func TestUnreadableParametersAreRefused(t *testing.T) {
	for kind, bodies := range map[string][]string{
		"application/json": {`{"a":1`, `{"a":1}x`, `[1]`, `"a"`, `1`, `{"a":1,"a":2}`, "{\"a\":\"\xff\"}", `{"a":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + "}"},
		"":                 {strings.Repeat("a=1&", 1001), "a" + strings.Repeat("[b]", 40) + "=1"},
	} {
		for _, body := range bodies {
			if p, err := Decode(kind, []byte(body)); err == nil {
				t.Errorf("%.60s: %d parameters", body, len(p))
			}
		}
	}
}

// A small body must not become a huge text, nor much work.
func TestJoiningIsBounded(t *testing.T) {
	long := strings.Repeat("k", 500_000)
	for _, body := range []string{
		`{"a":{"` + long + `":[` + strings.Repeat("1,", 400_000) + `1]}}`,
		`{"a":` + strings.Repeat(`{"kkkkkkkk":`, 900) + "1" + strings.Repeat("}", 900) + "}",
	} {
		p, err := ParseJSON([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		out, ok := p.Append(nil, Form{})
		if ok || len(out) > MaxText || time.Since(began) > 2*time.Second {
			t.Errorf("%d bytes, ok %v, %v", len(out), ok, time.Since(began))
		}
		if _, ok := p.Append(nil, Form{Compact: true}); !ok {
			t.Error("its JSON text cannot be joined")
		}
	}
}

// Each level of a nested value is looked at anew: a body is not looked at as often as it has levels. A content of the largest size
// can have all of them.
func TestTakingObjectsApartIsBounded(t *testing.T) {
	for size, want := range map[int]bool{256 << 10: true, 1 << 20: false} {
		p, err := ParseJSON([]byte(`{"a":` + strings.Repeat(`{"b":`, 30) + `"` + strings.Repeat("x", size) + `"` + strings.Repeat("}", 30) + "}"))
		if err != nil {
			t.Fatal(err)
		}
		for what, p := range map[string]Params{"as it is": p, "flat": p.Flatten()} {
			if out, ok := p.Append(nil, Form{}); ok != want {
				t.Errorf("%d bytes, %s: %v, text of %d bytes", size, what, ok, len(out))
			}
			if _, ok := p.Append(nil, Form{Compact: true}); !ok {
				t.Errorf("%d bytes, %s: its JSON text cannot be joined", size, what)
			}
		}
		if flat := p.Flatten(); testing.AllocsPerRun(3, func() { flat.Append(nil, Form{}); flat.Append(nil, Form{Compact: true}) }) > 20 {
			t.Error("what is flat is taken apart again")
		}
	}
}

func TestHeadersOfParametersWin(t *testing.T) {
	p, _ := ParseForm("a=1&b=2")
	q := append(Params(nil), p.Without("b")...)
	q.Set("a", "x")
	q.Set("c", "y")
	if got := join(t, q, Form{}); got != "a=x&c=y" {
		t.Error(got)
	}
	if got := join(t, p, Form{}); got != "a=1&b=2" {
		t.Errorf("the original has changed: %s", got)
	}
}

func TestTimes(t *testing.T) {
	shanghai, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	const noon = 1614916800_000 // 2021-03-05 12:00 in Shanghai
	for text, want := range map[string]int64{
		"2021-03-05 12:00:00": noon, "2021-3-5 12:0:0": noon, "2021-03-05T12:00:00": noon, "2021/03/05 12:00:00": noon, "2021-03-05 12:00": noon,
		"2021-03-05": noon - 12*3600_000, "2021-03-05 12:00:00.250": noon + 250, " 2021-03-05 12:00:00 ": noon,
		"2021-03-05T12:00:00Z": noon + 8*3600_000, "2021-03-05T04:00:00+00:00": noon, "1614916800": noon, "0": 0,
	} {
		for _, machine := range []*time.Location{time.UTC, time.FixedZone("other", -5*3600)} {
			at(t, machine, func() {
				if got, ok := ParseTime(text, shanghai); !ok || got != want {
					t.Errorf("%q: %d %v, want %d", text, got, ok, want)
				}
				if got := FormatTime(noon, shanghai); got != "2021-03-05 12:00:00" {
					t.Errorf("written as %s", got)
				}
			})
		}
	}
	for _, text := range []string{"", "x", "2021-02-30 12:00:00", "2021-13-01", "2021-03-05 25:00:00", "2021-03-05 12:00:00 x", "-5", "161491680000", "１６１４", "tomorrow", strings.Repeat("1", 50)} {
		if got, ok := ParseTime(text, shanghai); ok {
			t.Errorf("%q is %d", text, got)
		}
	}
}

// Where clocks are changed, PHP's own readings count: never before the time that was written.
func TestTimesWhereClocksAreChanged(t *testing.T) {
	for _, c := range []struct {
		zone, text string
		want       int64 // strtotime of PHP 8
	}{
		{"America/New_York", "2021-03-14 01:59:59", 1615705199}, {"America/New_York", "2021-03-14 02:30:00", 1615707000}, {"America/New_York", "2021-03-14 03:00:00", 1615705200},
		{"America/New_York", "2021-11-07 01:30:00", 1636263000}, {"America/Sao_Paulo", "2018-11-04", 1541300400}, {"America/Sao_Paulo", "2018-11-04 00:30:00", 1541302200},
		{"Europe/Berlin", "2021-03-28 02:30", 1616895000}, {"Europe/Berlin", "2021-10-31 02:30:00", 1635643800}, {"Australia/Lord_Howe", "2021-10-03T02:15:00", 1633189500},
		{"Asia/Shanghai", "1988-09-11 01:30:00", 589915800}, {"Asia/Shanghai", "2021-03-14 02:30:00", 1615660200},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := ParseTime(c.text, zone); !ok || got != c.want*1000 {
			t.Errorf("%s in %s: %d %v, want %d", c.text, c.zone, got/1000, ok, c.want)
		}
	}
}

// at runs f as on a machine of another zone.
func at(t *testing.T, machine *time.Location, f func()) {
	t.Helper()
	old := time.Local
	time.Local = machine
	defer func() { time.Local = old }()
	f()
}

func TestWindow(t *testing.T) {
	for d, want := range map[int64]bool{0: true, 300_000: true, -300_000: true, 300_001: false, -300_001: false, 1 << 62: false} {
		if InWindow(1_800_000_000_000+d, 1_800_000_000_000) != want {
			t.Errorf("%d ms: %v", d, !want)
		}
	}
	if NonceLife < 2*Window {
		t.Error("a nonce is forgotten while its request would be taken")
	}
}

type header map[string]string

func (h header) Header(name string) string { return h[name] }

func TestHeadersInTwoSpellings(t *testing.T) {
	for _, c := range []struct {
		h      header
		want   string
		hyphen bool
	}{
		{header{"app_key": "a"}, "a", false}, {header{"app-key": "b"}, "b", true}, {header{"app_key": "a", "app-key": "b"}, "a", false}, {header{}, "", false},
	} {
		if got, hyphen := Either(c.h, "app_key"); got != c.want || hyphen != c.hyphen {
			t.Errorf("%v: %q %v", c.h, got, hyphen)
		}
	}
}

// TestPHPJoinsTheSame asks PHP itself, with its own functions, for the text of random parameters.
func TestPHPJoinsTheSame(t *testing.T) {
	if m, no := testkit.MissingPHP(); no {
		testkit.Need(t, m.Err)
	}
	type phpCase struct {
		JSON []byte `json:"json,omitempty"`
		Form []byte `json:"form,omitempty"`
		Drop bool   `json:"drop,omitempty"`
	}
	rnd := rand.New(rand.NewPCG(3, 5))
	var cases []phpCase
	var texts []string
	for i := range 2000 {
		c := phpCase{Drop: i%3 == 0}
		var p Params
		var err error
		if i%2 == 0 {
			c.JSON = []byte(randomObject(rnd, 0))
			p, err = ParseJSON(c.JSON)
		} else {
			c.Form = []byte(randomForm(rnd))
			p, err = ParseForm(string(c.Form))
		}
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		cases = append(cases, c)
		if i%4 == 0 {
			p = p.Flatten()
		}
		texts = append(texts, join(t, p, Form{DropEmpty: c.Drop}))
	}
	in, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "php", "testdata/join.php")
	cmd.Stdin = bytes.NewReader(in)
	raw, err := cmd.Output()
	if err != nil {
		t.Fatalf("php: %v\n%s", err, raw)
	}
	var got []string
	if err := json.Unmarshal(raw, &got); err != nil || len(got) != len(cases) {
		t.Fatalf("php answered %.200s", raw)
	}
	bad := 0
	for i := range got {
		want, _ := base64.StdEncoding.DecodeString(got[i])
		if string(want) != texts[i] && bad < 5 {
			bad++
			t.Errorf("%s%s\nPHP  %s\nours %s", cases[i].JSON, cases[i].Form, want, texts[i])
		}
	}
}

var words = []string{"", "0", "a", "B", "张三", "a b", "x&y=z", "100%", "é", "0.0", "null", "-1", "data"}

func randomObject(r *rand.Rand, depth int) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range r.IntN(5) {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%c%d":%s`, "aBx_-"[r.IntN(5)], i, randomValue(r, depth))
	}
	return b.String() + "}"
}

func randomValue(r *rand.Rand, depth int) string {
	n := r.IntN(8)
	switch {
	case n == 0:
		return []string{"true", "false", "null"}[r.IntN(3)]
	case n == 1:
		return fmt.Sprint(r.IntN(1000) - 10)
	case n == 2 && depth < 3:
		return randomObject(r, depth+1)
	case n == 3 && depth < 3:
		items := make([]string, r.IntN(4))
		for i := range items {
			items[i] = randomValue(r, depth+1)
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	s, _ := json.Marshal(words[r.IntN(len(words))])
	return string(s)
}

func randomForm(r *rand.Rand) string {
	names := []string{"a", "b", "B", "a[]", "a[x]", "a[x][]", "c.d", "e f", "g[h", "b[1]", "b[]", "i[j][k]"}
	values := []string{"", "0", "1", "%E5%BC%A0", "a+b", "%26%3d", "%", "%zz", "x=y", "000"}
	parts := make([]string, r.IntN(7))
	for i := range parts {
		parts[i] = names[r.IntN(len(names))] + "=" + values[r.IntN(len(values))]
	}
	return strings.Join(parts, "&")
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"a=1&b[x][]=%41", `{"a":{"b":[1,null,true]},"c":"\u00e9"}`, "[]", "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x--"} {
		for _, kind := range []string{"", "application/json", "multipart/form-data; boundary=x"} {
			f.Add(kind, []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		p, err := Decode(kind, body)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, x := range p {
			if seen[x.Name] {
				t.Fatalf("%q stands twice", x.Name)
			}
			seen[x.Name] = true
			if raw, ok := x.Value.Compact(); ok && !json.Valid(raw) {
				t.Fatalf("%q is no JSON", raw)
			}
		}
		for _, f := range []Form{{}, {DropEmpty: true}, {Compact: true}} {
			out, ok := p.Append(nil, f)
			if len(out) > MaxText {
				t.Fatalf("%d bytes", len(out))
			}
			if flat, flatOK := p.Flatten().Append(nil, f); ok && (!flatOK || !bytes.Equal(flat, out)) {
				t.Fatalf("flat %q, else %q", flat, out)
			}
		}
	})
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"2021-03-05 12:00:00", "1614916800", "2021-03-05T12:00:00Z", "2021/3/5"} {
		f.Add(s)
	}
	zone := time.FixedZone("x", 8*3600)
	f.Fuzz(func(t *testing.T, text string) {
		ms, ok := ParseTime(text, zone)
		if !ok {
			return
		}
		if back, ok := ParseTime(FormatTime(ms, zone), zone); ok && back != ms/1000*1000 && ms >= 0 {
			t.Fatalf("%q is %d, written and read again %d", text, ms, back)
		}
	})
}
