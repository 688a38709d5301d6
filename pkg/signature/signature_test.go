package signature

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The vector of the Standard Webhooks specification's libraries.
const (
	vectorSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorID     = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorBody   = `{"test": 2432232314}`
	vectorSign   = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

var vectorTime = time.Unix(1614265330, 0)

func secret(t testing.TB, text string) Secret {
	t.Helper()
	s, err := ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVectorOfTheSpecification(t *testing.T) {
	s := secret(t, vectorSecret)
	if got := Sign(s, vectorID, vectorTime, []byte(vectorBody)); got != vectorSign {
		t.Errorf("signed %s, want %s", got, vectorSign)
	}
	h := http.Header{}
	h.Set("webhook-id", vectorID)
	h.Set("webhook-timestamp", "1614265330")
	h.Set("webhook-signature", "v1,AAAA v2,ignored "+vectorSign)
	if err := Verify(h, []byte(vectorBody), vectorTime.Add(time.Minute), s); err != nil {
		t.Error(err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	s, other := secret(t, vectorSecret), secret(t, strings.Repeat("o", 32))
	sign := func() http.Header {
		h := http.Header{}
		SignHeader(h, "task_1", vectorTime, []byte("body"), s)
		return h
	}
	for name, c := range map[string]struct {
		change func(http.Header)
		body   string
		now    time.Time
		secret Secret
		want   error
	}{
		"as it was":    {body: "body", now: vectorTime, secret: s},
		"old":          {body: "body", now: vectorTime.Add(Tolerance + time.Second), secret: s, want: ErrTooOld},
		"ahead":        {body: "body", now: vectorTime.Add(-Tolerance - time.Second), secret: s, want: ErrTooOld},
		"other body":   {body: "Body", now: vectorTime, secret: s, want: ErrMismatch},
		"other secret": {body: "body", now: vectorTime, secret: other, want: ErrMismatch},
		"other id":     {change: func(h http.Header) { h.Set(HeaderID, "task_2") }, body: "body", now: vectorTime, secret: s, want: ErrMismatch},
		"other time":   {change: func(h http.Header) { h.Set(HeaderTimestamp, "1614265331") }, body: "body", now: vectorTime, secret: s, want: ErrMismatch},
		"no id":        {change: func(h http.Header) { h.Del(HeaderID) }, body: "body", now: vectorTime, secret: s, want: ErrMissing},
		"no time":      {change: func(h http.Header) { h.Set(HeaderTimestamp, "x") }, body: "body", now: vectorTime, secret: s, want: ErrMissing},
		"no signature": {change: func(h http.Header) { h.Del(HeaderSignature) }, body: "body", now: vectorTime, secret: s, want: ErrMissing},
		"another kind": {change: func(h http.Header) { h.Set(HeaderSignature, "v1a,"+vectorSign[3:]) }, body: "body", now: vectorTime, secret: s, want: ErrMismatch},
		"many of them": {change: func(h http.Header) { h.Set(HeaderSignature, strings.Repeat("v1,AAAA ", 16)+h.Get(HeaderSignature)) }, body: "body", now: vectorTime, secret: s, want: ErrMismatch},
	} {
		h := sign()
		if c.change != nil {
			c.change(h)
		}
		if err := Verify(h, []byte(c.body), c.now, c.secret); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestRotationSignsWithEverySecret(t *testing.T) {
	a, b := secret(t, strings.Repeat("a", 32)), secret(t, strings.Repeat("b", 32))
	h := http.Header{}
	SignHeader(h, "x", vectorTime, nil, a, b)
	for _, s := range []Secret{a, b} {
		if err := Verify(h, nil, vectorTime, s); err != nil {
			t.Error(err)
		}
	}
}

func TestSecretsAreCheckedAndNeverPrinted(t *testing.T) {
	long := base64.StdEncoding.EncodeToString(make([]byte, 65))
	for _, bad := range []string{"", "short", "whsec_", "whsec_!!!", "whsec_" + long, "whsec_AAAA", strings.Repeat("x", 129)} {
		if _, err := ParseSecret(bad); !errors.Is(err, ErrSecret) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	s := secret(t, "my secret of many characters")
	if out := fmt.Sprintf("%v %s %+v %#v", s, s, s, s); strings.Contains(out, "many") {
		t.Errorf("printed: %s", out)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(vectorID, "1614265330", vectorSign, []byte(vectorBody))
	f.Add("", "-1", "v1, v1,= ,", []byte(nil))
	s := Secret(strings.Repeat("k", 32))
	f.Fuzz(func(t *testing.T, id, stamp, sig string, body []byte) {
		h := http.Header{HeaderID: {id}, HeaderTimestamp: {stamp}, HeaderSignature: {sig}}
		if Verify(h, body, vectorTime, s) == nil && !strings.Contains(sig, base64.StdEncoding.EncodeToString(mac(s, id, stamp, body))) {
			t.Error("accepted what was not signed")
		}
	})
}
