package config

import (
	"errors"
	"net/url"
	"strings"
)

var errOrigin = errors.New(`each must be an origin: http or https, host and port, nothing behind it, as https://ops.example.com; or "*" alone`)

// parseOrigins reads a list of origins of pages, in lower case.
func parseOrigins(to *[]string, text string) error {
	var out []string
	for part := range strings.SplitSeq(text, ",") {
		o := strings.ToLower(strings.TrimSpace(part))
		if o == "" {
			continue
		}
		u, err := url.Parse(o)
		if o != "*" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || o != u.Scheme+"://"+u.Host || strings.Contains(o, "*")) {
			return errOrigin
		}
		if u != nil { // browsers leave the usual port out
			o = strings.TrimSuffix(o, map[string]string{"http": ":80", "https": ":443"}[u.Scheme])
		}
		out = append(out, o)
	}
	for _, o := range out {
		if o == "*" && len(out) > 1 {
			return errOrigin
		}
	}
	*to = out
	return nil
}
