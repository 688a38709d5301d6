package openapi_test

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/openapi"
)

func served(t *testing.T, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	e := httpkit.New(httpkit.Options{})
	openapi.Register(e)
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	e.ServeHTTP(rec, r)
	return rec
}

// The page holds every operation and schema, all its links lead somewhere, nothing of it is a script, and nothing is loaded from elsewhere.
func TestThePageIsWhole(t *testing.T) {
	rec := served(t, "/docs")
	body := rec.Body.String()
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(body, -1) {
		if ids[m[1]] {
			t.Errorf("id %s is there twice", m[1])
		}
		ids[m[1]] = true
	}
	for _, m := range regexp.MustCompile(` href="#([^"]+)"`).FindAllStringSubmatch(body, -1) {
		if !ids[m[1]] {
			t.Errorf("the link #%s leads nowhere", m[1])
		}
	}
	for _, o := range openapi.Operations() {
		if !ids[o.ID] {
			t.Errorf("the page has no %s: is its tag among groups?", o.ID)
		}
	}
	for _, p := range openapi.Get().Components.Schemas {
		if !ids["schema-"+p.Name] {
			t.Errorf("the page has no schema %s", p.Name)
		}
	}
	if m := regexp.MustCompile(`(?i)<script|<link|<img|<iframe|javascript:| on[a-z]+=| style=|@import|url\(`).FindString(body); m != "" {
		t.Errorf("the page has %s", m)
	}
	style := body[strings.Index(body, "<style>")+len("<style>") : strings.Index(body, "</style>")]
	sum := sha256.Sum256([]byte(style))
	policy := rec.Header().Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
		t.Errorf("policy %q does not allow the style, or more", policy)
	}
}

// Both addresses are compressed for those who take that, with tags of their own, and 304 for those who have them.
func TestDocumentAndPageAreCompressedAndTagged(t *testing.T) {
	for _, path := range []string{"/openapi.json", "/docs"} {
		plain, zipped := served(t, path), served(t, path, "Accept-Encoding", "br, gzip;q=0.5")
		r, err := gzip.NewReader(zipped.Body)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil || string(raw) != plain.Body.String() || zipped.Header().Get("Content-Encoding") != "gzip" || plain.Header().Get("Content-Encoding") != "" {
			t.Errorf("%s: %d bytes, %v", path, len(raw), err)
		}
		tags := []string{plain.Header().Get("ETag"), zipped.Header().Get("ETag")}
		if tags[0] == tags[1] || slices.Contains(tags, "") {
			t.Errorf("%s: tags %v", path, tags)
		}
		for i, accept := range []string{"gzip;q=0, identity", "gzip"} {
			if rec := served(t, path, "Accept-Encoding", accept, "If-None-Match", tags[i]); rec.Code != http.StatusNotModified || rec.Body.Len() > 0 {
				t.Errorf("%s with %s: %d", path, accept, rec.Code)
			}
			if rec := served(t, path, "Accept-Encoding", accept, "If-None-Match", tags[1-i]); rec.Code != http.StatusOK {
				t.Errorf("%s with the other form's tag: %d", path, rec.Code)
			}
		}
		if n := zipped.Header().Get("Vary"); n != "Accept-Encoding" {
			t.Errorf("%s: Vary %q", path, n)
		}
	}
}
