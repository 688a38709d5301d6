package openapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/taskweir/taskweir/internal/httpkit"
)

// pages are the document and its page as they are sent.
type pages struct {
	json, html   []byte
	zipped       map[string][]byte // by address
	policy       string            // Content-Security-Policy of the page
	jsonT, htmlT string            // ETags
}

// rendered makes everything once: a request only copies.
var rendered = sync.OnceValue(func() *pages {
	raw, err := encode(Get())
	if err != nil {
		panic("openapi: " + err.Error()) // a mistake in a table: the first test that runs finds it
	}
	p := &pages{json: raw}
	p.html, p.policy = page(Get())
	p.zipped = map[string][]byte{jsonAddress: squeeze(p.json), pageAddress: squeeze(p.html)}
	p.jsonT, p.htmlT = httpkit.Tag(p.json), httpkit.Tag(p.html)
	return p
})

const (
	jsonAddress = "/openapi.json"
	pageAddress = "/docs"
)

// Register adds the document and its page to an engine. Neither needs a credential: both say what everybody may know.
func Register(e *httpkit.Engine) {
	e.Handle(
		httpkit.Route{Method: http.MethodGet, Path: jsonAddress, Handle: func(_ context.Context, r *httpkit.Request) (httpkit.Response, error) {
			p := rendered()
			r.SetHeader("Access-Control-Allow-Origin", "*") // viewers of other sites may read it: there is nothing to take
			return p.answer(r, jsonAddress, "application/json", p.json, p.jsonT), nil
		}},
		httpkit.Route{Method: http.MethodGet, Path: pageAddress, Handle: func(_ context.Context, r *httpkit.Request) (httpkit.Response, error) {
			p := rendered()
			r.SetHeader("Content-Security-Policy", p.policy)
			r.SetHeader("Referrer-Policy", "no-referrer")
			return p.answer(r, pageAddress, "text/html; charset=utf-8", p.html, p.htmlT), nil
		}},
	)
}

// answer gives a page as the client takes it. The forms differ, and so do their tags.
func (p *pages) answer(r *httpkit.Request, address, media string, body []byte, tag string) httpkit.Response {
	r.SetHeader("Vary", "Accept-Encoding")
	if takesGzip(r.Header("Accept-Encoding")) {
		r.SetHeader("Content-Encoding", "gzip")
		body, tag = p.zipped[address], strings.TrimSuffix(tag, `"`)+`-gzip"`
	}
	return httpkit.Response{Status: http.StatusOK, ContentType: media, Body: body, ETag: true, Tag: tag}
}

// takesGzip reports whether an Accept-Encoding allows gzip.
func takesGzip(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		fields := strings.Split(part, ";")
		name := strings.ToLower(strings.TrimSpace(fields[0]))
		if name != "gzip" && name != "*" {
			continue
		}
		return !slices.ContainsFunc(fields[1:], func(f string) bool {
			f = strings.ReplaceAll(strings.ToLower(f), " ", "")
			return strings.HasPrefix(f, "q=0") && strings.Trim(f[3:], ".0") == ""
		})
	}
	return false
}

func squeeze(b []byte) []byte {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // the level is a good one
	_, _ = w.Write(b)                                       // a buffer takes everything
	_ = w.Close()
	return out.Bytes()
}
