package secret

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"
)

// sealedElsewhere was made by another implementation of AES-256-GCM: key 32 times 7, nonce 0 … 11, value "whsec value".
// It must open for ever: deployments have such values in their databases.
const sealedElsewhere = "014bb06f8e000102030405060708090a0b6fe99a157e29af281bc780abef66b3e769c6a3b316a9151e95c18e"

func TestTheFormatStays(t *testing.T) {
	in, err := hex.DecodeString(sealedElsewhere)
	if err != nil {
		t.Fatal(err)
	}
	b := box(t, 7)
	if got, err := b.Open(in); err != nil || string(got) != "whsec value" {
		t.Errorf("opened %q, %v", got, err)
	}
	out, err := b.Seal([]byte("whsec value"))
	if err != nil {
		t.Fatal(err)
	}
	id := sha256.Sum256(bytes.Repeat([]byte{7}, 32))
	if len(out) != len(in) || out[0] != 1 || !bytes.Equal(out[1:5], id[:4]) {
		t.Errorf("sealed %x: want version 1, key id %x and %d bytes", out, id[:4], len(in))
	}
}

func TestWhatIsWrongIsTold(t *testing.T) {
	b := box(t, 7)
	good, _ := hex.DecodeString(sealedElsewhere)
	with := func(i int, v byte) []byte { c := bytes.Clone(good); c[i] = v; return c }
	for name, c := range map[string]struct {
		in   []byte
		want error
	}{
		"nothing":         {nil, ErrSealed},
		"only a head":     {good[:5], ErrSealed},
		"no tag":          {good[:17], ErrSealed},
		"later version":   {with(0, 2), ErrSealed},
		"another key":     {with(1, good[1]^1), ErrKey},
		"another nonce":   {with(5, 0xff), ErrSealed},
		"another value":   {with(17, good[17]^1), ErrSealed},
		"another tag":     {with(len(good)-1, good[len(good)-1]^1), ErrSealed},
		"something after": {append(bytes.Clone(good), 0), ErrSealed},
	} {
		if got, err := b.Open(c.in); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: %q, %v, want %v", name, got, err, c.want)
		}
	}
}

// The head is authenticated: a value cannot be made to look as if another key had sealed it.
func TestTheKeyIDCannotBeExchanged(t *testing.T) {
	one, two, both := box(t, 1), box(t, 2), box(t, 1, 2)
	a, _ := one.Seal([]byte("v"))
	b, _ := two.Seal([]byte("v"))
	copy(a[1:5], b[1:5])
	if _, err := both.Open(a); !errors.Is(err, ErrSealed) {
		t.Errorf("%v", err)
	}
}

func FuzzSealOpen(f *testing.F) {
	b := box(f, 7)
	f.Add([]byte("v"))
	f.Fuzz(func(t *testing.T, plain []byte) {
		sealed, err := b.Seal(plain)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.Open(sealed); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%x came back as %x, %v", plain, got, err)
		}
	})
}
