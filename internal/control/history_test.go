package control

import "testing"

// An id that a client sends back may be anything; what is read as one is written in no other way, and no two are equal in order.
func FuzzStep(f *testing.F) {
	for _, s := range []string{"0.1", "3.2", "2147483647.9223372036854775807", "1.0", "01.1", "-1.1", "1.+1", "1.1 ", "1..1", "１.1", "1.1\r\nevent: x", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, ok := ParseStep(text)
		if !ok {
			return
		}
		if s.String() != text || s.Epoch < 0 || s.N < stepBegan {
			t.Fatalf("%q is %+v, which is %q", text, s, s)
		}
		first := Step{0, stepBegan}
		if s.After(s) || first.After(s) || (s != first && !s.After(first)) {
			t.Fatalf("%q is out of order", text)
		}
	})
}
