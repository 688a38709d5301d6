package goodjob

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/compat"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
)

// Each documented text for each header that is missing, malformed, stale or forged, and their order: a request breaks every
// rule from one on, and the first is answered.
func TestChecksOfHeadersInTheirOrder(t *testing.T) {
	w := onSQLite(t)
	good := w.headers(map[string]string{"taskId": "1"})
	bad := map[string]string{"Content-Type": good["Content-Type"]}
	for _, c := range []struct{ header, value, text string }{
		{"app_key", "", textNoKey},
		{"app_key", "1111111111111111", textNoApp},
		{"app_key", strings.ToUpper(w.app.SecretKey[:16]), textNoApp},
		{"app_key", strings.Repeat("x", 100), textNoApp},
		{"app_key", w.app.AppKey, ""},
		{"nonce_str", "", textNonce},
		{"nonce_str", "12345", textNonce},
		{"nonce_str", "张", textNonce},
		{"nonce_str", "123456", ""},
		{"timestamp", "", textNoTime},
		{"timestamp", "yesterday", textBadTime},
		{"timestamp", "2021-02-30 00:00:00", textBadTime},
		{"timestamp", w.later(-302), textFarTime},
		{"timestamp", w.later(302), textFarTime},
		{"timestamp", fmt.Sprint(w.svc.Now()/1000 - 302), textFarTime},
		{"timestamp", compat.FormatTime(w.svc.Now(), time.UTC), textFarTime},
		{"timestamp", w.later(-290), ""},
		{"signature", "", textNoSignature},
		{"signature", good["signature"], ""},
		{"version", "", textNoVersion},
		{"version", "1", textBadVersion},
		{"version", "1.00", textBadVersion},
		{"version", "1.0", textBadSignature},
	} {
		bad[c.header] = c.value
		if c.text != "" {
			w.refused(w.send("POST", "/goodjob/task/detail", "taskId=1", bad), c.text)
		}
	}
	if len(w.nonces.used) != 0 {
		t.Errorf("refused requests used nonces up: %v", w.nonces.used)
	}
	w.refused(w.send("POST", "/goodjob/task/detail", "taskId=1", good), textDetailMissing)
	if len(w.nonces.used) != 1 {
		t.Errorf("%d nonces were used", len(w.nonces.used))
	}
}

func TestANonceIsGoodOnce(t *testing.T) {
	w := onSQLite(t)
	id := w.create()
	h := w.headers(map[string]string{"taskId": id})
	forged := maps.Clone(h)
	forged["signature"] = strings.Repeat("0", 32)
	w.refused(w.send("POST", "/goodjob/task/detail", "taskId="+id, forged), textBadSignature)
	w.ok(w.send("POST", "/goodjob/task/detail", "taskId="+id, h))
	w.refused(w.send("POST", "/goodjob/task/detail", "taskId="+id, h), textRepeated)

	again := map[string]string{"taskNo": "x", "content": "1"}
	h2 := w.headers(nil)
	h2["nonce_str"] = h["nonce_str"]
	h2["signature"] = w.signature(again, h2)
	w.refused(w.send("POST", "/goodjob/task/create", form("taskNo", "x", "content", "1"), h2), textRepeated)

	other := *w
	other.app = w.newApp("other", "http://127.0.0.1:9/")
	h3 := other.headers(nil)
	h3["nonce_str"] = h["nonce_str"]
	h3["signature"] = other.signature(map[string]string{"taskId": id}, h3)
	w.refused(w.send("POST", "/goodjob/task/detail", "taskId="+id, h3), textDetailMissing) // its own nonce, not its own task
	for _, life := range w.nonces.used {
		if life < 600*time.Second || life > 602*time.Second {
			t.Errorf("a nonce is remembered for %v", life)
		}
	}
}

// slowBody is a body that takes its time: that of the server's clock.
type slowBody struct {
	io.Reader
	comes func()
}

func (b slowBody) Read(p []byte) (int, error) {
	b.comes()
	return b.Reader.Read(p)
}

// A nonce is remembered for as long as its request is in the window. Who sends a request again, with a time ahead of the server's and a body that
// comes slowly, must not be in the window when the headers come and be taken when the nonce is forgotten.
func TestAReplayWhoseBodyComesSlowly(t *testing.T) {
	w := onSQLite(t)
	id := w.create()
	h := w.headers(nil)
	h["timestamp"] = fmt.Sprint(w.svc.Now()/1000 + 299)
	h["signature"] = w.signature(map[string]string{"taskId": id}, h)
	w.ok(w.send("POST", "/goodjob/task/detail", "taskId="+id, h))
	w.clock.ahead.Store((299 + 299) * 1000)
	r := httptest.NewRequest("POST", "/goodjob/task/detail", nil)
	r.ContentLength, r.Body = -1, io.NopCloser(slowBody{strings.NewReader("taskId=" + id), func() {
		w.clock.ahead.Store((299 + 302) * 1000)
		clear(w.nonces.used) // their time is over
	}})
	for k, v := range h {
		r.Header.Set(k, v)
	}
	rec := httptest.NewRecorder()
	w.api.ServeHTTP(rec, r)
	if !strings.Contains(rec.Body.String(), textFarTime) {
		t.Errorf("taken twice: %s", rec.Body)
	}
}

// Joining without escapes lets a text be read in several ways. A request that was taken must not be taken again with some of its
// parameters hidden in the nonce.
func TestAReplayThatHidesParametersInItsNonce(t *testing.T) {
	w := onSQLite(t)
	signed := map[string]string{"content": "{}", "runtime": w.later(600), "taskNo": "a"}
	h := w.headers(signed)
	w.ok(w.send("POST", "/goodjob/task/create", form("content", "{}", "runtime", signed["runtime"], "taskNo", "a"), h))
	h["nonce_str"] += "&runtime=" + signed["runtime"]
	w.refused(w.send("POST", "/goodjob/task/create", form("content", "{}", "taskNo", "a"), h), textRepeated)
	h["nonce_str"] += "&taskNo=a"
	w.refused(w.send("POST", "/goodjob/task/create", form("content", "{}"), h), textRepeated)
}

func TestSpellingsOfHeaders(t *testing.T) {
	w := onSQLite(t)
	id := w.create()
	for _, c := range []struct {
		key, nonce  string // as sent
		sKey, sNnce string // as signed
		taken       bool
	}{
		{"app_key", "nonce_str", "app_key", "nonce_str", true},
		{"app-key", "nonce-str", "app-key", "nonce-str", true},
		{"App-Key", "Nonce-Str", "app_key", "nonce_str", true}, // a proxy that drops underscores made the client rename its headers
		{"app_key", "nonce_str", "app-key", "nonce-str", true},
		{"app_key", "nonce_str", "APP_KEY", "nonce_str", false},
		{"app_key", "nonce_str", "app-key", "nonce_str", false},
	} {
		h := w.headers(nil)
		delete(h, "signature")
		signed := map[string]string{c.sKey: h["app_key"], c.sNnce: h["nonce_str"], "timestamp": h["timestamp"], "version": "1.0", "taskId": id}
		sent := map[string]string{c.key: h["app_key"], c.nonce: h["nonce_str"], "timestamp": h["timestamp"], "version": "1.0",
			"Content-Type": h["Content-Type"], "signature": w.signature(signed, nil)}
		a := w.send("POST", "/goodjob/task/detail", "taskId="+id, sent)
		if taken := a.Code == 200; taken != c.taken {
			t.Errorf("%+v: %s", c, a.body)
		}
	}
}

func TestABearerIsNoErrorHere(t *testing.T) {
	w := onSQLite(t)
	id := w.create()
	for _, bearer := range []string{"Bearer " + rootKey, "Bearer x", "Basic Zm9v"} {
		h := w.headers(map[string]string{"taskId": id})
		h["Authorization"] = bearer
		w.ok(w.send("POST", "/goodjob/task/detail", "taskId="+id, h))
	}
	// and it opens nothing
	w.refused(w.send("POST", "/goodjob/task/detail", "taskId="+id, map[string]string{"Authorization": "Bearer " + rootKey}), textNoKey)
}

// Parameters count only where they are signed: of a POST in the body, of a GET in the query.
func TestParametersCountWhereTheyAreSigned(t *testing.T) {
	w := onSQLite(t)
	id, other := w.create(), w.create()
	h := w.headers(map[string]string{"taskId": id})
	a := w.send("POST", "/goodjob/task/detail?taskId="+other+"&x=1", "taskId="+id, h)
	w.ok(a)
	if !strings.Contains(a.body, `"taskId":"`+id+`"`) {
		t.Errorf("the query decided: %s", a.body)
	}
	w.refused(w.send("POST", "/goodjob/task/detail?taskId="+id, "", w.headers(nil)), nameTaskID+" "+ruleRequired)
	w.refused(w.send("POST", "/goodjob/task/detail?taskId="+id, "", w.headers(map[string]string{"taskId": id})), textBadSignature)

	h = w.headers(map[string]string{"taskId": id})
	delete(h, "Content-Type")
	w.ok(w.send("GET", "/goodjob/task/detail?taskId="+id, "", h))
	w.refused(w.send("GET", "/goodjob/task/detail?taskId="+other, "", w.headers(map[string]string{"taskId": id})), textBadSignature)
	w.refused(w.send("GET", "/goodjob/task/detail?taskId="+id, "", w.headers(nil)), textBadSignature)
	w.refused(w.send("GET", "/goodjob/task/detail", "taskId="+id, w.headers(nil)), nameTaskID+" "+ruleRequired)
}

// What a client signs verifies, in every way that clients have to sign and to send; any changed byte of what is signed does not.
func TestSignaturesOfRandomRequests(t *testing.T) {
	const secret = "vph1291T6Q6ZK262p2z611922tKBpUj6"
	rnd := rand.New(rand.NewPCG(8, 9))
	letters := []rune("abcXYZ0123456789_-张三 &=%+\"{}[]:,")
	random := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteRune(letters[rnd.IntN(len(letters))])
		}
		return b.String()
	}
	for range 3000 {
		var p compat.Params
		for range rnd.IntN(5) {
			p.Set(random(1+rnd.IntN(6)), random(rnd.IntN(8)))
		}
		if rnd.IntN(2) == 0 {
			object, err := compat.ParseJSON([]byte(fmt.Sprintf(`{"content":{"a":%d,"b":{"c":%q,"d":[true,false,null,1.50]}},"empty":""}`, rnd.IntN(9), random(3))))
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range object {
				p = append(p.Without(x.Name), x)
			}
		}
		c := credentials{appKey: "5347838620634821", nonce: random(8), time: "2021-03-04 11:42:36", version: "1.0", hyphens: rnd.IntN(2) == 0}
		forms := readings(p)
		s, ok := sign(p, c, secret, forms[rnd.IntN(len(forms))])
		if !ok || !verified(p, c, []string{"another-secret-of-the-same-app-x", secret}, s) {
			t.Fatalf("%+v %+v does not verify", p, c)
		}
		other := c
		switch rnd.IntN(4) {
		case 0:
			other.appKey = changed(rnd, c.appKey)
		case 1:
			other.nonce = changed(rnd, c.nonce)
		case 2:
			other.time = changed(rnd, c.time)
		case 3:
			other.version = changed(rnd, c.version)
		}
		if verified(p, other, []string{secret}, s) || verified(p, c, []string{changed(rnd, secret)}, s) || verified(p, c, []string{secret}, changed(rnd, s)) ||
			verified(p, c, []string{secret}, strings.ToUpper(s)) && s != strings.ToUpper(s) || verified(p, c, nil, s) || verified(p, c, []string{secret}, "") {
			t.Fatalf("a changed header, secret or signature verifies: %+v", c)
		}
		for i := range p {
			if v, plain := p[i].Value.Scalar(); plain && v != "" && p[i].Name != "signature" && !isHeader(p[i].Name) {
				q := append(compat.Params(nil), p...)
				q[i].Value = compat.Text(changed(rnd, v))
				if verified(q, c, []string{secret}, s) {
					t.Fatalf("%q as %v verifies too", p[i].Name, q[i].Value)
				}
			}
		}
	}
}

// isHeader reports whether a header stands for the parameter in either spelling.
func isHeader(name string) bool {
	switch strings.ReplaceAll(name, "-", "_") {
	case "app_key", "nonce_str", "timestamp", "version":
		return true
	}
	return false
}

// changed gives a text with one byte changed.
func changed(r *rand.Rand, s string) string {
	b := []byte(s)
	i := r.IntN(len(b))
	b[i] ^= byte(1 + r.IntN(127))
	return string(b)
}

// The vectors were computed by others from the document.
func TestVectors(t *testing.T) {
	const secret = "vph1291T6Q6ZK262p2z611922tKBpUj6"
	c := credentials{appKey: "5347838620634821", nonce: "abc123xyz0", time: "2021-03-04 11:42:36", version: "1.0"}
	for _, v := range []struct {
		body      string
		c         credentials
		signature string
	}{
		{form("taskNo", "a6", "runtime", "2021-03-05 12:00:00", "content", `{"orderId":1001,"name":"张三"}`), c, "966794a3c382ef82149ee9e57d767a66"},
		{"taskId=1367320145408659456", c, "b5791eb2ca1536e9f987643117a41da2"},
		{`{"taskId":1367320145408659456}`, c, "b5791eb2ca1536e9f987643117a41da2"},
		{form("content", "aabb", "runtime", "2019-09-13 11:08:00", "taskNo", "a1"),
			credentials{"4098668690234486", "abc123", "2019-09-13 10:13:00", "1.0", true}, "b13d29479d1a8d6eb54056271598110d"},
	} {
		p, err := compat.Decode("", []byte(v.body))
		if err != nil || !verified(p, v.c, []string{secret}, v.signature) {
			t.Errorf("%s: %v", v.body, err)
		}
	}
	out := credentials{"5347838620634821", "AbCdEfGhIj", "2021-03-05 12:00:01", "1.0", true}
	if got := signCallback(`{"orderId":1001,"name":"张三"}`, out, secret); got != "53f3eaf907fc2e946b2d9a056f32736f" {
		t.Errorf("callback: %s", got)
	}
}

// A database that is away is no reason to say that an app does not exist.
func TestWithoutADatabaseNobodyIsUnknown(t *testing.T) {
	store := sqldbtest.New(t, "sqlite")
	w := newWorld(t, store, true)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	w.svc.Close(context.Background())
	h := w.headers(map[string]string{"taskId": "1"})
	h["app_key"] = "5347838620634821"
	r := w.sendRaw("POST", "/goodjob/task/detail", "taskId=1", h)
	if strings.Contains(r.Body.String(), textNoApp) || r.Code == 200 && !strings.Contains(r.Body.String(), textBusy) {
		t.Errorf("%d %s", r.Code, r.Body)
	}
}
