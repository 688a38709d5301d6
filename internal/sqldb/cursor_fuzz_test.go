package sqldb

import "testing"

func FuzzDecodeCursor(f *testing.F) {
	f.Add(cursor{mode: byID, id: 77}.encode(), byte(byID))
	f.Add(cursor{mode: byDue, id: 7, due: 1 << 41, bell: 9}.encode(), byte(byDue))
	f.Add("AQ", byte(byRunning))
	f.Add(cursor{mode: slotsByTime, id: 1, due: 1 << 41}.encode(), byte(slotsByTime))
	f.Fuzz(func(t *testing.T, text string, mode byte) {
		c, ok, err := decodeCursor(text, listMode(mode))
		if err != nil || !ok {
			return
		}
		again, ok, err := decodeCursor(c.encode(), listMode(mode))
		if err != nil || !ok || again != c {
			t.Errorf("%+v became %+v, %v", c, again, err)
		}
	})
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"sqlite:///a", "mysql://u:p@h:1/d?tls=true", "mysql://u:%zz@h/d", "sqlite://"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		file, my, err := parseURL(raw)
		if err == nil && (file == "") == (my == nil) {
			t.Errorf("%q: file %q, mysql %v", raw, file, my)
		}
	})
}
