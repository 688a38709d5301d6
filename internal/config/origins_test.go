package config

import (
	"slices"
	"testing"
)

func TestParseOrigins(t *testing.T) {
	for text, want := range map[string][]string{
		"": nil, "https://a.example": {"https://a.example"}, " https://A.example:8443 , http://localhost:3000 ": {"https://a.example:8443", "http://localhost:3000"},
		"*": {"*"}, "http://[::1]:80": {"http://[::1]"}, "https://a.example:443,http://a.example:443": {"https://a.example", "http://a.example:443"},
	} {
		var got []string
		if err := parseOrigins(&got, text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"a.example", "https://a.example/", "https://a.example/x", "ftp://a.example", "https://*.example", "*,https://a.example", "https://", "null",
		"https://u@a.example", "https://a.example?x", "https://a.example#x", "https://a b"} {
		got := []string{"kept"}
		if err := parseOrigins(&got, text); err == nil || got[0] != "kept" {
			t.Errorf("%q was taken: %v", text, got)
		}
	}
}
