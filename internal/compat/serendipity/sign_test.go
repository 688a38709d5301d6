package serendipity

import (
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/runner/httpcall"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

// The vector of the specification, section 9.
func TestVector(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	got := sign("1626418779", "S5D7zmW5HNnSiqf0", "f3c5fa5b2b4045bcb1132ddece49c0f4", secret)
	if want := "Nzk1ZTE2N2Y0ZjIyMWFiMzY2NDRlZGU5NzFhM2YyODM1Nzg0ZWNiMjdkNGQ4ZWNmYTllYjZjZDFlYjYxNGE0ZA=="; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	// The document's own signature has the same form, and its payload is the MD5 of the app's name.
	raw, err := base64.StdEncoding.DecodeString("NTBhNmIyYTRkZjFkODM4MDIyYTYzMzllMDIwN2QyN2MyYjNiYzg3YjM0ODc1YWNiZWZlOGQxZGU0MmE4NzgxMg==")
	if _, bad := hex.DecodeString(string(raw)); err != nil || bad != nil || len(raw) != 64 {
		t.Errorf("%q %v %v", raw, err, bad)
	}
	if got := md5Hex([]byte("帅的批爆")); got != "f3c5fa5b2b4045bcb1132ddece49c0f4" {
		t.Error(got)
	}
}

func randomText(r *rand.Rand, most int) string {
	b := make([]byte, 1+r.IntN(most))
	for i := range b {
		b[i] = byte(r.IntN(256))
	}
	return string(b)
}

// What a client signs verifies, with any of the app's secrets; any changed byte of what is signed, of the signature or of the
// secret does not.
func TestSignedVerifiesAndAnyChangedByteDoesNot(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		secret := randomText(r, 40)
		p := proof{nonce: randomText(r, 20), timestamps: randomText(r, 12), payload: randomText(r, 70)}
		p.signature = sign(p.timestamps, p.nonce, p.payload, secret)
		if !p.holds([]string{secret}) || !p.holds([]string{"another", secret}) || p.holds([]string{"another"}) || p.holds(nil) {
			t.Fatalf("%q with %q", p, secret)
		}
		for _, part := range []*string{&p.nonce, &p.timestamps, &p.payload, &p.signature, &secret} {
			whole := *part
			b := []byte(whole)
			i := r.IntN(len(b))
			b[i] ^= byte(1 + r.IntN(255))
			*part = string(b)
			if p.holds([]string{secret}) {
				t.Fatalf("a changed byte holds: %q with %q", p, secret)
			}
			*part = whole + "x"
			if p.holds([]string{secret}) {
				t.Fatalf("a longer part holds: %q", p)
			}
			*part = whole
		}
	}
}

func TestDigests(t *testing.T) {
	for sent, payloads := range map[string][2]string{
		"":  {"d41d8cd98f00b204e9800998ecf8427e", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		"a": {"0cc175b9c0f1b6a831c399e269772661", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"},
	} {
		for _, p := range payloads {
			if !digests(p, []byte(sent)) || digests(strings.ToUpper(p), []byte(sent)) || digests(p, []byte(sent+"b")) || digests(p[1:], []byte(sent)) {
				t.Errorf("%q of %q", p, sent)
			}
		}
	}
}

// What is sent verifies by the document's rule; payload is the digest of the body; data is the content byte for byte.
func TestCallback(t *testing.T) {
	u, _ := url.Parse("http://shop/cb")
	to := httpcall.Target{App: task.App{Key: "wWt1aSZj2KXMO7fE"}, URL: u, Secret: "vph1291T6Q6ZK262p2z611922tKBpUj6"}
	seen := map[string]bool{}
	for _, content := range []string{`{"orderId":1001,"name":"张三"}`, " { \"a\" : 1.50 } ", `"x&data=y+%20\u0000"`, "null"} {
		c, err := Dialect{}.Build(to, worker.Job{TaskID: 81, Retry: 2, Payload: []byte(content)}, time.UnixMilli(1_626_418_779_999))
		if err != nil {
			t.Fatal(err)
		}
		form, err := url.ParseQuery(string(c.Body))
		if err != nil || len(form) != 1 || form.Get("data") != content {
			t.Errorf("%q became %q", content, c.Body)
		}
		h := func(name string) string {
			if len(c.Header[name]) != 1 {
				t.Fatalf("%s: %v", name, c.Header[name])
			}
			return c.Header[name][0]
		}
		if h("app_key") != to.App.Key || h("app-key") != to.App.Key || h("timestamps") != "1626418779" || h("payload") != md5Hex(c.Body) || h("task-id") != "81" || h("retry") != "2" {
			t.Errorf("%v", c.Header)
		}
		if h("signature") != sign(h("timestamps"), h("nonce"), h("payload"), to.Secret) || len(h("nonce")) != 16 || seen[h("nonce")] {
			t.Errorf("%v", c.Header)
		}
		seen[h("nonce")] = true
		p := proof{nonce: h("nonce")}
		if !p.ours([]string{"another", to.Secret}) || p.ours([]string{"another"}) || p.ours(nil) {
			t.Errorf("%s is not known as a callback's of this app alone", p.nonce)
		}
	}
}

// What is made for a client is never taken for a callback's.
func TestClientsNoncesAreNotOurs(t *testing.T) {
	const secret = "vph1291T6Q6ZK262p2z611922tKBpUj6"
	for range 2000 {
		if p := signed("p", secret, 1); p.ours([]string{secret}) || len(p.nonce) != nonceLen {
			t.Fatal(p.nonce)
		}
	}
	for _, nonce := range []string{"", "x", "S5D7zmW5HNnSiqf0", "a longer nonce than the document's"} {
		if p := (proof{nonce: nonce}); p.ours([]string{secret}) {
			t.Error(nonce)
		}
	}
}

func TestJudge(t *testing.T) {
	for _, body := range []string{"success", "SUCCESS", " Success\n", `"success"`, "'success'", "\tsuccess\r\n"} {
		for _, status := range []int{200, 202, 410, 500} {
			if r := (Dialect{}).Judge(httpcall.Answer{Status: status, Body: []byte(body)}); r.Outcome != task.OutcomeSucceeded {
				t.Errorf("%d %q: %+v", status, body, r)
			}
		}
	}
	for _, body := range []string{"", "ok", "success!", "{\"success\":true}", "success success", strings.Repeat(" ", 100) + "success", "\"success"} {
		for _, status := range []int{200, 202, 204, 410, 500} {
			r := (Dialect{}).Judge(httpcall.Answer{Status: status, Body: []byte(body), RetryAfterMs: 7000})
			if r.Outcome != task.OutcomeFailed || r.Permanent || r.RetryAfterMs != 7000 {
				t.Errorf("%d %q: %+v", status, body, r)
			}
		}
	}
	if r := (Dialect{}).Judge(httpcall.Answer{Code: "address_refused", Permanent: true}); r.Outcome != task.OutcomeFailed || r.Permanent || r.ErrCode != "address_refused" {
		t.Errorf("%+v", r)
	}
}

func TestFrames(t *testing.T) {
	for function, want := range map[string]frame{
		"net/http.(*persistConn).roundTrip":                            {Function: "roundTrip", Class: "net/http.persistConn", Type: "->"},
		"github.com/a.b/c.(*T).Run.func1":                              {Function: "Run.func1", Class: "github.com/a.b/c.T", Type: "->"},
		"github.com/taskweir/taskweir/internal/runner/basic.Sleep.Run": {Function: "Run", Class: "github.com/taskweir/taskweir/internal/runner/basic.Sleep", Type: "->"},
		"main.work":         {Function: "work", Class: "main", Type: "::"},
		"main.work.func1":   {Function: "work.func1", Class: "main", Type: "::"},
		"main.work.gowrap2": {Function: "work.gowrap2", Class: "main", Type: "::"},
		"main.G[...].f":     {Function: "f", Class: "main.G", Type: "->"},
		"odd":               {Function: "odd", Type: "::"},
	} {
		want.File, want.Line = "f.go", 7
		if got := frameOf(task.Frame{Function: function, File: "f.go", Line: 7}); got != want {
			t.Errorf("%s: %+v", function, got)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add("a/b.(*T).f.func1")
	f.Add("x.")
	f.Add(".(*")
	f.Fuzz(func(t *testing.T, name string) {
		got := frameOf(task.Frame{Function: name})
		if len(got.Class)+len(got.Function) > len(name) || got.Type == "" {
			t.Fatalf("%q: %+v", name, got)
		}
	})
}
