package outbound

import (
	"bytes"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// written reports whether a header, by its canonical name, is one that the encoder writes itself, or means more than a line of text.
func written(name string) bool {
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer", "Connection", "Expect", "Upgrade", "Te", "Keep-Alive", "Proxy-Connection":
		return true
	}
	return false
}

// appendRequest appends a request as it goes over the wire. Not ok: it is larger than maxPlain, or has anything that needs
// more than copying (TLS, another protocol, a host to be translated, a header that no wire may carry): then net/http's
// transport sends it, or says what is wrong with it.
func appendRequest(b []byte, req *http.Request) (_ []byte, ok bool) {
	u := req.URL
	if u == nil || u.Scheme != "http" || u.Opaque != "" || len(u.Host) == 0 || req.Close || len(req.TransferEncoding) > 0 || len(req.Trailer) > 0 {
		return b, false
	}
	host := req.Host
	if host == "" {
		host = u.Host
	}
	target := u.RequestURI()
	if len(host)+len(target) > maxPlain || req.ContentLength < 0 || req.ContentLength > maxPlain {
		return b, false
	}
	if target[0] != '/' || !allOf(target, visible) || !allOf(host, hostByte) || !allOf(u.Host, hostByte) {
		return b, false
	}
	method := req.Method
	switch method {
	case "":
		method = http.MethodGet
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
	default:
		return b, false
	}
	b = append(append(append(append(b, method...), ' '), target...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, host...), "\r\n"...)
	if b, ok = appendHeader(b, req.Header); !ok {
		return b, false
	}
	if req.ContentLength > 0 || method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch {
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), req.ContentLength, 10), "\r\n"...)
	}
	b = append(b, "\r\n"...)
	if int64(len(b))+req.ContentLength > maxPlain {
		return b, false
	}
	return appendBody(b, req)
}

// appendHeader appends the lines of a header by name, and gives up as soon as they are too long: the buffer is used again.
func appendHeader(b []byte, h http.Header) (_ []byte, ok bool) {
	var room [16]string
	names := room[:0]
	for name := range h {
		if len(name) == 0 || !allOf(name, tokenByte) || written(textproto.CanonicalMIMEHeaderKey(name)) {
			return b, false
		}
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, v := range h[name] {
			if len(b)+len(name)+len(v) > maxPlain || !allOf(v, fieldByte) {
				return b, false
			}
			b = append(append(b, name...), ": "...)
			b = append(append(b, strings.Trim(v, " \t")...), "\r\n"...)
		}
	}
	agent := h["User-Agent"]
	return b, len(agent) == 1 && agent[0] != "" // without one the transport adds its own, of many it sends the first
}

// appendBody appends a copy of a body of the length that the request says. A body that is shorter or longer is the
// transport's to complain about.
func appendBody(b []byte, req *http.Request) (_ []byte, ok bool) {
	none := req.Body == nil || req.Body == http.NoBody
	if req.ContentLength == 0 {
		return b, none
	}
	if w, ok := req.Body.(*Whole); ok {
		if int64(len(w.all)) != req.ContentLength {
			return b, false
		}
		return append(b, w.all...), true
	}
	if none || req.GetBody == nil {
		return b, false
	}
	body, err := req.GetBody()
	if err != nil {
		return b, false
	}
	defer func() { _ = body.Close() }()
	from, length := len(b), int(req.ContentLength)
	b = slices.Grow(b, length+1)
	n, err := io.ReadFull(body, b[from:from+length+1]) // one more, which is not to come
	return b[:from+length], n == length && err == io.ErrUnexpectedEOF
}

func allOf(s string, good *[256]bool) bool {
	for i := range len(s) {
		if !good[s[i]] {
			return false
		}
	}
	return true
}

// hostByte are the bytes of a host and port that need no translation, tokenByte those of a name, fieldByte those of a value
// (RFC 9110, 5.5 and 5.6.2), visible those of a target.
var hostByte, tokenByte, fieldByte, visible = set256(func(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || bytes.IndexByte([]byte("-._:[]"), c) >= 0
}), set256(func(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0
}), set256(func(c byte) bool { return c >= ' ' && c != 0x7f || c == '\t' }), set256(func(c byte) bool { return c > ' ' && c < 0x7f })

func set256(in func(byte) bool) *[256]bool {
	var t [256]bool
	for c := range t {
		t[c] = in(byte(c))
	}
	return &t
}
