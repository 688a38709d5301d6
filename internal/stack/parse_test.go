package stack

import "testing"

// FuzzParse: whatever a profile looks like, parsing ends and gives no more than was asked for.
func FuzzParse(f *testing.F) {
	f.Add("goroutine profile: total 2\n1 @ 0x483a6e 0x461846\n# labels: {\"task\":\"1\"}\n#\t0x1\tmain.f+0x1\t/x.go:1\n\n")
	f.Add("9999999 @ 0x1\n# labels: {\"a\":\"b\", \"task\":\"1\"}\n")
	f.Add("x @ 0xzz\n# labels: {\"task\":\"1\"}\n1 @ \n# labels: {\"task\":\"1\"}\n-3 @ 0x1\n# labels: {\"task\":")
	f.Fuzz(func(t *testing.T, text string) {
		got := parse([]byte(text), "task", map[string]string{`"task":"1"`: "1"}, 3)
		if len(got) > 1 || len(got["1"]) > 3 {
			t.Fatalf("%+v", got)
		}
		for _, g := range got["1"] {
			if g.State == "" || len(g.Frames) > maxFrames {
				t.Fatalf("%+v", g)
			}
		}
	})
}
