package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// FuzzSetting gives any text to any setting, through the environment and through a flag: both mean the same, what is refused is
// refused by name, and a secret is never repeated.
func FuzzSetting(f *testing.F) {
	all := Settings()
	for i, s := range all {
		f.Add(uint16(i), s.DefaultFor(Standalone))
	}
	for i, s := range []string{"none", "10s", "7d", "-1", "1,2", ":", "127.0.0.1:0", "[::1]:80", "10.0.0.0/8,::/0", "mysql://u:p@h:1/d", "redis://:p@h/0", "https://x.example", "a=b", "\x00", "0.5", "true"} {
		f.Add(uint16(i*3), s)
	}
	f.Fuzz(func(t *testing.T, i uint16, text string) {
		s := all[int(i)%len(all)]
		if strings.ContainsRune(text, 0) || s.Type == "file" || s.Type == "folder" {
			return // no environment can hold it; names of files are not looked at here
		}
		one, two := &Config{}, &Config{}
		err := s.set(one, text)
		if again := s.set(two, text); (err == nil) != (again == nil) || !reflect.DeepEqual(one, two) {
			t.Fatalf("%s=%q: %v, then %v", s.Key, text, err, again)
		}
		c, loaded := LoadFlags(Standalone, nil, []string{s.Env() + "=" + text})
		var broken *Error
		switch {
		case loaded != nil && !errors.As(loaded, &broken):
			t.Fatalf("%s=%q: an error of another type: %v", s.Key, text, loaded)
		case loaded == nil && err != nil && text != "" && s.Roles.Has(Standalone):
			t.Fatalf("%s=%q is taken (%v), but refused alone: %v", s.Key, text, c, err)
		}
		if s.Secret && len(text) > 8 {
			for _, err := range []error{err, loaded} {
				if err != nil && strings.Contains(err.Error(), text) {
					t.Fatalf("%s: its error repeats the secret: %v", s.Key, err)
				}
			}
		}
	})
}
