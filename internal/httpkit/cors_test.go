package httpkit_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
)

// crossOrigin asks an engine that allows some origins.
func crossOrigin(origins []string, method, origin, wants string) *httptest.ResponseRecorder {
	e := httpkit.New(httpkit.Options{CORSOrigins: origins})
	e.Handle(httpkit.Route{Method: "GET", Path: "/v1/x", Handle: func(context.Context, *httpkit.Request) (httpkit.Response, error) {
		return httpkit.Response{Status: 200, Body: []byte("{}"), ETag: true}, nil
	}}, httpkit.Route{Method: "POST", Path: "/v1/x", Handle: func(context.Context, *httpkit.Request) (httpkit.Response, error) {
		return httpkit.Response{}, &task.Error{Kind: task.Throttled, Code: "slow_down"}
	}})
	r := httptest.NewRequest(method, "/v1/x", nil)
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	if wants != "" {
		r.Header.Set("Access-Control-Request-Method", wants)
	}
	rec := httptest.NewRecorder()
	e.ServeHTTP(rec, r)
	return rec
}

func TestCORS(t *testing.T) {
	const page, other = "https://ops.example.com", "https://evil.example.com"
	list := []string{page, "http://localhost:3000"}
	for _, x := range []struct {
		name                  string
		origins               []string
		method, origin, wants string
		status                int
		allowed               string
	}{
		{"none is the default", nil, "GET", page, "", 200, ""},
		{"none is the default, asked before", nil, "OPTIONS", page, "POST", 405, ""},
		{"a listed page", list, "GET", page, "", 200, page},
		{"a listed page, in capitals", list, "GET", "https://OPS.example.com", "", 200, "https://OPS.example.com"},
		{"another page", list, "GET", other, "", 200, ""},
		{"no page", list, "GET", "", "", 200, ""},
		{"an error", list, "POST", page, "", 429, page},
		{"a page that only begins alike", list, "GET", page + ".evil.org", "", 200, ""},
		{"null", list, "GET", "null", "", 200, ""},
		{"asked before", list, "OPTIONS", page, "DELETE", 204, page},
		{"another page asks before", list, "OPTIONS", other, "GET", 403, ""},
		{"OPTIONS that asks for nothing", list, "OPTIONS", page, "", 405, page},
		{"any page", []string{"*"}, "GET", other, "", 200, "*"},
		{"any page asks before", []string{"*"}, "OPTIONS", other, "POST", 204, "*"},
	} {
		t.Run(x.name, func(t *testing.T) {
			rec := crossOrigin(x.origins, x.method, x.origin, x.wants)
			h := rec.Header()
			if rec.Code != x.status || h.Get("Access-Control-Allow-Origin") != x.allowed {
				t.Fatalf("%d, allowed %q: %v", rec.Code, h.Get("Access-Control-Allow-Origin"), h)
			}
			if h.Get("Access-Control-Allow-Credentials") != "" {
				t.Error("credentials are allowed")
			}
			varies := strings.Contains(strings.Join(h.Values("Vary"), ","), "Origin")
			if want := len(x.origins) > 0 && x.origins[0] != "*"; varies != want {
				t.Errorf("Vary: %v", h.Values("Vary"))
			}
			switch {
			case x.allowed == "" || x.status == http.StatusForbidden:
				if h.Get("Access-Control-Allow-Headers")+h.Get("Access-Control-Expose-Headers") != "" {
					t.Error("says more than it must")
				}
			case x.wants != "":
				for _, need := range []string{"Authorization", "Idempotency-Key", "If-Match"} {
					if !strings.Contains(h.Get("Access-Control-Allow-Headers"), need) {
						t.Errorf("%s may not be sent", need)
					}
				}
				if !strings.Contains(h.Get("Access-Control-Allow-Methods"), x.wants) {
					t.Errorf("%s may not be used", x.wants)
				}
			default:
				for _, need := range []string{"ETag", "Retry-After", "Idempotent-Replayed", "Taskweir-Log-From", "Taskweir-Attempt"} {
					if !strings.Contains(h.Get("Access-Control-Expose-Headers"), need) {
						t.Errorf("%s may not be read", need)
					}
				}
			}
		})
	}
}
