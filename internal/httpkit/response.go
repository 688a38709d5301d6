package httpkit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// Response is what a handler answers. The zero Response is 204.
type Response struct {
	Status      int    // 0: 200 with a body, 204 without
	ContentType string // "": application/json
	Body        []byte
	ETag        bool   // tag the body; GET and HEAD answer 304 when the client has it
	Tag         string // "": made of the body. With quotes; for what has a version of its own
	scratch     bool   // Body was appended to Request.Scratch

	// Stream writes the answer instead of Body, after its head, until it returns or ctx ends: the client is gone. HEAD does not call it. ContentType is
	// required. The request may be used until it returns.
	Stream func(ctx context.Context, s *Stream) error
}

// Appended answers with a body that was appended to Request.Scratch.
func Appended(status int, body []byte) Response {
	return Response{Status: status, Body: body, scratch: true}
}

// JSON answers with a value encoded by encoding/json.
func JSON(status int, v any) (Response, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return Response{}, err
	}
	return Response{Status: status, Body: bytes.TrimSuffix(b.Bytes(), []byte("\n"))}, nil
}

// Tag is the strong entity tag of a body.
func Tag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + hex.EncodeToString(sum[:12]) + `"`
}

// Matches reports whether a header of If-Match or If-None-Match names the tag. weak also accepts W/ forms.
func Matches(header, tag string, weak bool) bool {
	for part := range strings.SplitSeq(header, ",") {
		part = strings.TrimSpace(part)
		if weak {
			part = strings.TrimPrefix(part, "W/")
		}
		if part == tag || part == "*" {
			return true
		}
	}
	return false
}

// Header values that need no allocation.
var (
	typeJSON    = []string{"application/json"}
	typeProblem = []string{"application/problem+json"}
	noStore     = []string{"no-store"}
	noSniff     = []string{"nosniff"}
)

// send writes the answer.
func (r *Request) send(resp *Response) {
	w := r.c.Writer
	h := w.Header()
	for k, v := range r.header {
		h[k] = v
	}
	h["X-Request-Id"] = []string{r.ID()}
	h["X-Content-Type-Options"] = noSniff
	if resp.Status == 0 {
		if resp.Status = http.StatusOK; resp.Body == nil && resp.Stream == nil {
			resp.Status = http.StatusNoContent
		}
	}
	if resp.ETag && (resp.Status == http.StatusOK || resp.Status == http.StatusCreated) {
		tag := resp.Tag
		if tag == "" {
			tag = Tag(resp.Body)
		}
		h.Set("ETag", tag)
		h.Set("Cache-Control", "private, no-cache")
		if m := r.Method(); (m == http.MethodGet || m == http.MethodHead) && Matches(r.Header("If-None-Match"), tag, true) {
			resp.Status, resp.Body = http.StatusNotModified, nil
		}
	} else if h["Cache-Control"] == nil {
		h["Cache-Control"] = noStore
	}
	if resp.Stream != nil {
		r.stream(r.c.Request.Context(), resp)
		return
	}
	if len(resp.Body) == 0 {
		if resp.ContentType != "" && resp.Status != http.StatusNoContent && resp.Status != http.StatusNotModified {
			h.Set("Content-Type", resp.ContentType) // an empty text is one
		}
		w.WriteHeader(resp.Status)
		w.WriteHeaderNow()
		return
	}
	switch resp.ContentType {
	case "":
		h["Content-Type"] = typeJSON
	case typeProblem[0]:
		h["Content-Type"] = typeProblem
	default:
		h.Set("Content-Type", resp.ContentType)
	}
	if len(resp.Body) > 2000 { // below, net/http counts by itself
		h.Set("Content-Length", strconv.Itoa(len(resp.Body)))
	}
	w.WriteHeader(resp.Status)
	w.Write(resp.Body) // a client that is gone is no error of ours
}
