package config

import (
	"log/slog"
	"slices"
)

// Shown is one setting as it may be printed.
type Shown struct {
	Key    string `json:"key"`
	Value  string `json:"value"`  // redacted for secrets
	Source string `json:"source"` // a flag, a variable, file:line, "default"
}

// Source tells where a setting came from, for errors that are found later: "environment TASKWEIR_HTTP_ADDR", or "http.addr
// (TASKWEIR_HTTP_ADDR)" when it stands at its default.
func (c *Config) Source(key string) string {
	if o, ok := c.origins[key]; ok && o.source != fromDefault && o.source != "" {
		return o.source
	}
	for _, s := range Settings() {
		if s.Key == key {
			return key + " (" + s.Env() + ")"
		}
	}
	return key
}

// IsSet reports whether a flag, the environment or the file named the setting: neither a default nor what a standalone left.
func (c *Config) IsSet(key string) bool {
	return c.origins[key].text != "" && c.origins[key].source != fromDefault
}

// Show lists the settings of the role with their values and sources, secrets redacted.
func (c *Config) Show() []Shown {
	var out []Shown
	for _, s := range Settings() {
		if !s.Roles.Has(c.Role) {
			continue
		}
		o := c.origins[s.Key]
		switch s.Key { // addresses are useful even without their password
		case "database.url":
			o.text = c.Database.URL.String()
		case "redis.url":
			o.text = c.Redis.URL.String()
		}
		out = append(out, Shown{Key: s.Key, Value: o.text, Source: o.source})
	}
	return out
}

// LogValue gives what was set, secrets redacted; settings at their default are left out.
func (c *Config) LogValue() slog.Value {
	shown := slices.DeleteFunc(c.Show(), func(s Shown) bool { return s.Source == fromDefault || s.Source == "" })
	attrs := make([]slog.Attr, 0, len(shown))
	for _, s := range shown {
		attrs = append(attrs, slog.String(s.Key, s.Value))
	}
	return slog.GroupValue(attrs...)
}
