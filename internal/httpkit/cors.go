package httpkit

import (
	"net/http"
	"slices"
	"strings"
)

// corsHeaders are what scripts of other origins may read of an answer beside what they may read of any.
const corsHeaders = "ETag, Idempotent-Replayed, Location, Retry-After, Taskweir-Attempt, Taskweir-Log-From, X-Request-Id"

// corsRequest are the headers that they may send.
const corsRequest = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, X-Request-Id"

// corsMethods are the methods that they may use.
const corsMethods = "GET, HEAD, POST, PUT, PATCH, DELETE"

// cors lets pages of other origins call the API from browsers. Credentials in the sense of the standard (cookies) are never allowed:
// a page must have a key, and send it. With "*" any page that has one may.
type cors struct {
	origins []string
	any     bool
}

func newCORS(origins []string) *cors {
	if len(origins) == 0 {
		return nil
	}
	return &cors{origins: origins, any: slices.Contains(origins, "*")}
}

// serve sets the headers of an answer to a page of another origin, and answers preflights; it reports whether it did the latter.
func (c *cors) serve(w http.ResponseWriter, r *http.Request) (done bool) {
	h := w.Header()
	if !c.any {
		h.Add("Vary", "Origin") // also where there is none: an answer that is kept must not be given to a page
	}
	origin := r.Header.Get("Origin")
	preflight := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
	if preflight {
		h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	}
	switch {
	case origin == "":
		return false
	case c.any:
		h.Set("Access-Control-Allow-Origin", "*")
	case slices.Contains(c.origins, strings.ToLower(origin)):
		h.Set("Access-Control-Allow-Origin", origin)
	case preflight: // without the header the browser refuses
		w.WriteHeader(http.StatusForbidden)
		return true
	default:
		return false
	}
	if !preflight {
		h.Set("Access-Control-Expose-Headers", corsHeaders)
		return false
	}
	h.Set("Access-Control-Allow-Methods", corsMethods)
	h.Set("Access-Control-Allow-Headers", corsRequest)
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}
