package secret

import (
	"bytes"
	"errors"
	"testing"
)

func box(t testing.TB, keys ...byte) *Box {
	t.Helper()
	var all [][32]byte
	for _, k := range keys {
		all = append(all, [32]byte(bytes.Repeat([]byte{k}, 32)))
	}
	b, err := New(all[0], all[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWhatIsSealedOpensAndTwoSealsDiffer(t *testing.T) {
	b := box(t, 1)
	for _, plain := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("secret"), 1000)} {
		one, err := b.Seal(plain)
		if err != nil {
			t.Fatal(err)
		}
		two, _ := b.Seal(plain)
		if bytes.Equal(one, two) || len(plain) > 1 && bytes.Contains(one, plain) {
			t.Error("a seal repeats itself or shows its value")
		}
		if got, err := b.Open(one); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("opened %q, %v", got, err)
		}
	}
}

func TestEveryChangedBitIsSeen(t *testing.T) {
	b := box(t, 1)
	sealed, _ := b.Seal([]byte("value"))
	for i := range sealed {
		for bit := range 8 {
			bad := bytes.Clone(sealed)
			bad[i] ^= 1 << bit
			if _, err := b.Open(bad); !errors.Is(err, ErrSealed) && !errors.Is(err, ErrKey) {
				t.Fatalf("byte %d bit %d: %v", i, bit, err)
			}
		}
		if _, err := b.Open(sealed[:i]); err == nil {
			t.Fatalf("cut at %d: opened", i)
		}
	}
}

func TestRotation(t *testing.T) {
	old, both, fresh := box(t, 1), box(t, 2, 1), box(t, 2)
	sealed, _ := old.Seal([]byte("v"))
	if got, err := both.Open(sealed); err != nil || string(got) != "v" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := fresh.Open(sealed); !errors.Is(err, ErrKey) {
		t.Errorf("%v", err)
	}
	again, _ := both.Seal([]byte("v"))
	if got, err := fresh.Open(again); err != nil || string(got) != "v" {
		t.Errorf("the first key seals: %q %v", got, err)
	}
}

func TestUnsetKeyIsRefused(t *testing.T) {
	if _, err := New([32]byte{}); err == nil {
		t.Error("a key of zeros was accepted")
	}
}

func FuzzOpen(f *testing.F) {
	b := box(f, 7)
	sealed, _ := b.Seal([]byte("v"))
	f.Add(sealed)
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, in []byte) {
		if got, err := b.Open(in); err == nil && string(got) != "v" { // the only value ever sealed with this key
			t.Errorf("opened %q", got)
		}
	})
}
