package compat

import "strings"

// Headers reads the headers of a request (httpkit.Request).
type Headers interface {
	Header(name string) string
}

// Either gives a header that may be spelled with underscores, as the documents do, or with hyphens, as proxies demand that
// drop underscores. hyphen says that only that spelling was there.
func Either(h Headers, name string) (value string, hyphen bool) {
	if v := h.Header(name); v != "" {
		return v, false
	}
	v := h.Header(Hyphens(name))
	return v, v != ""
}

// Hyphens is a name with hyphens for underscores.
func Hyphens(name string) string { return strings.ReplaceAll(name, "_", "-") }
