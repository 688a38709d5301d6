package config

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
)

const redacted = "[redacted]"

// Secret is text that prints as [redacted] with every fmt verb, in slog and in JSON.
type Secret string

// Reveal gives the text itself.
func (s Secret) Reveal() string { return string(s) }

// IsSet reports whether there is a secret.
func (s Secret) IsSet() bool { return s != "" }

// String never gives the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// Format keeps the secret from every verb, also %#v and %x.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue keeps the secret out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps the secret out of JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Key is 32 bytes of key material; all zero means that there is none. It prints as [redacted].
type Key [32]byte

// IsSet reports whether there is a key.
func (k Key) IsSet() bool { return k != Key{} }

// String never gives the key.
func (k Key) String() string {
	if !k.IsSet() {
		return ""
	}
	return redacted
}

// Format keeps the key from every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// LogValue keeps the key out of logs.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText keeps the key out of JSON and YAML.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// SecretURL is an address that may carry a password. It prints without the password and without its query.
type SecretURL string

// Reveal gives the address with its password.
func (u SecretURL) Reveal() string { return string(u) }

// IsSet reports whether there is an address.
func (u SecretURL) IsSet() bool { return u != "" }

// Scheme is the part before "://".
func (u SecretURL) Scheme() string {
	scheme, _, _ := strings.Cut(string(u), "://")
	return scheme
}

// String gives the address with the password and the query replaced. What cannot be told apart safely is replaced whole.
func (u SecretURL) String() string {
	scheme, rest, ok := strings.Cut(string(u), "://")
	switch {
	case u == "":
		return ""
	case !ok:
		return redacted
	case scheme == "sqlite":
		return string(u)
	}
	// Not url.Parse: an address of several Redis hosts is none, and must be shown too.
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	if strings.Contains(tail, "@") { // a password with an unescaped slash
		return scheme + "://" + redacted
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		name, _, both := strings.Cut(authority[:i], ":")
		if both {
			name += ":xxxxx"
		}
		authority = name + authority[i:]
	}
	if i := strings.IndexAny(tail, "?#"); i >= 0 {
		tail = tail[:i] + "?..."
	}
	return scheme + "://" + authority + tail
}

// Format prints String with every verb.
func (u SecretURL) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, u.String()) }

// LogValue gives String.
func (u SecretURL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalText gives String.
func (u SecretURL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }
