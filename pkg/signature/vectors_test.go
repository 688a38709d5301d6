package signature

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The expected values were computed by another implementation: openssl dgst -sha256 -mac HMAC over "id.timestamp.body".
func TestVectorsOfAnotherImplementation(t *testing.T) {
	const plain = "0123456789abcdef0123456789abcdef"
	for _, c := range []struct {
		secret, id string
		at         int64
		body, want string
	}{
		{plain, "task_17", 1_700_000_000, `{"a" : 1}`, "KiuO68dCwJ3hdAKK7qZ66jTP84dwqGU9OAwtbPSsJxY="},
		{plain, "task_1", 0, "", "4VkEoHRIBgU+eiKZamo9EoKj5mGkpTNM1Wnzzo7zRGI="},
		{plain, "task_9007199254740991", 1_893_456_000, "ünïcode\n\x00", "m/eHaGLQBfK+FdXDX7ThaGsLVwCDGi37Vb6BUTgxt5k="},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", "msg_2", 1_700_000_001, "{}", "2GaWydPxOw/3FOlYe+y2CyyMiCOOse3X2xUaa8ELAes="},
	} {
		s, at := secret(t, c.secret), time.Unix(c.at, 999_000_000)
		if got := Sign(s, c.id, at, []byte(c.body)); got != "v1,"+c.want {
			t.Errorf("%s: signed %s, want %s", c.id, got, c.want)
		}
		h := http.Header{HeaderID: {c.id}, HeaderTimestamp: {fmt.Sprint(c.at)}, HeaderSignature: {"v1," + c.want}}
		if err := Verify(h, []byte(c.body), at, s); err != nil {
			t.Errorf("%s: %v", c.id, err)
		}
	}
}

func TestToleranceIsExact(t *testing.T) {
	s := secret(t, vectorSecret)
	h := http.Header{}
	SignHeader(h, "x", vectorTime, nil, s)
	for d, want := range map[time.Duration]error{
		Tolerance: nil, -Tolerance: nil, 0: nil, Tolerance + 1: ErrTooOld, -Tolerance - 1: ErrTooOld, 1000 * time.Hour: ErrTooOld,
	} {
		if err := Verify(h, nil, vectorTime.Add(d), s); !errors.Is(err, want) {
			t.Errorf("%v off: %v, want %v", d, err, want)
		}
	}
	for _, stamp := range []string{"9223372036854775807", "-9223372036854775808", "9223371974719179008"} { // overflow a time
		old := http.Header{}
		SignHeader(old, "x", vectorTime, nil, s)
		old.Set(HeaderTimestamp, stamp)
		if err := Verify(old, nil, vectorTime, s); !errors.Is(err, ErrTooOld) {
			t.Errorf("%s: %v", stamp, err)
		}
	}
}

func TestSeveralSecretsOnTheReceiversSide(t *testing.T) {
	older, newer, other := secret(t, strings.Repeat("a", 32)), secret(t, strings.Repeat("b", 32)), secret(t, strings.Repeat("c", 32))
	h := http.Header{}
	SignHeader(h, "x", vectorTime, []byte("1"), older)
	for name, c := range map[string]struct {
		secrets []Secret
		want    error
	}{
		"old and new":  {[]Secret{newer, older}, nil},
		"only new":     {[]Secret{newer}, ErrMismatch},
		"none":         {nil, ErrMismatch},
		"two wrong":    {[]Secret{newer, other}, ErrMismatch},
		"empty beside": {[]Secret{nil, {}, older}, nil},
	} {
		if err := Verify(h, []byte("1"), vectorTime, c.secrets...); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// An environment variable that is not set must not become a key that everybody knows.
func TestAnEmptySecretVerifiesNothing(t *testing.T) {
	h := http.Header{}
	SignHeader(h, "x", vectorTime, []byte("1"), Secret{})
	for _, s := range []Secret{nil, {}} {
		if err := Verify(h, []byte("1"), vectorTime, s); !errors.Is(err, ErrMismatch) {
			t.Errorf("%v", err)
		}
	}
}

func TestSecretsHideFromEveryEncoder(t *testing.T) {
	s := secret(t, "the key that nobody may see")
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%o", "%c", "%U", "%10v"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", struct{ Key Secret }{s})
		fmt.Fprintf(&out, verb+"\n", []Secret{s})
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "key", s)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "key", s)
	if b, err := json.Marshal(struct{ Key Secret }{s}); err != nil || string(b) != `{"Key":"whsec_…"}` {
		t.Errorf("%s %v", b, err)
	}
	for _, leak := range []string{"nobody", fmt.Sprintf("%x", "nobody"), fmt.Sprintf("%X", "nobody"), "bm9ib2R5", "110 111 98", "1101110"} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%s is seen in\n%s", leak, out.String())
		}
	}
}

func FuzzParseSecret(f *testing.F) {
	for _, s := range []string{vectorSecret, "whsec_", "0123456789abcdef", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSecret(text)
		if (err == nil) != (len(s) >= 16 && len(s) <= 128) {
			t.Errorf("%q: %d bytes, %v", text, len(s), err)
		}
		if err != nil && !errors.Is(err, ErrSecret) {
			t.Errorf("%q: %v", text, err)
		}
	})
}
