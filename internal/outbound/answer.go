package outbound

import (
	"bytes"
	"io"
	"net/http"
	"net/textproto"
	"strings"
)

// headEnd ends the header of an answer.
var headEnd = []byte("\r\n\r\n")

// usual reads an answer of the usual form, without a copy of it for each of its lines: one that has come in one piece, of HTTP/1.1, with a
// body of a length that it says. nil without an error: it is another one, or one with a mistake in it, and nothing was taken of it;
// http.ReadResponse reads that.
func (l *link) usual(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodHead {
		return nil, nil
	}
	if _, err := l.in.Peek(1); err != nil { // waits for it
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	came, _ := l.in.Peek(l.in.Buffered())
	end := bytes.Index(came, headEnd)
	if end < 0 {
		return nil, nil
	}
	resp := parseHead(string(came[:end+2]))
	from := end + len(headEnd)
	if resp == nil || int64(len(came)-from) < resp.ContentLength {
		return nil, nil
	}
	resp.Request, resp.Body = req, http.NoBody
	if n := int(resp.ContentLength); n > 0 {
		resp.Body = NewWhole(bytes.Clone(came[from : from+n]))
		from += n
	}
	_, _ = l.in.Discard(from) // it is there
	return resp, nil
}

// parseHead reads the header of an answer, up to the end of its last line. nil: it is not of the usual form.
func parseHead(text string) *http.Response {
	const proto, space, code = "HTTP/1.1", 8, 9
	line, text, ok := cutLine(text)
	if !ok || len(line) < code+3 || line[:space] != proto || line[space] != ' ' || len(line) > code+3 && line[code+3] != ' ' {
		return nil
	}
	status, ok := number(line[code : code+3])
	if !ok || status < 200 || status == http.StatusNoContent || status == http.StatusNotModified || !allOf(line, fieldByte) {
		return nil
	}
	h := parseFields(text)
	if h == nil {
		return nil
	}
	length := h["Content-Length"]
	if len(length) == 0 {
		return nil
	}
	n, ok := number(length[0])
	if !ok {
		return nil
	}
	return &http.Response{
		Status: line[code:], StatusCode: int(status), Proto: proto, ProtoMajor: 1, ProtoMinor: 1, Header: h, ContentLength: n,
	}
}

// parseFields reads the lines of a header. nil: one is not of the usual form, comes twice, or changes how the answer is read.
func parseFields(text string) http.Header {
	values := make([]string, strings.Count(text, "\n")) // one array for all of them
	h := make(http.Header, len(values))
	for len(text) > 0 {
		var line string
		var ok bool
		if line, text, ok = cutLine(text); !ok {
			return nil
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || len(name) == 0 || !allOf(name, tokenByte) || !allOf(value, fieldByte) {
			return nil
		}
		name, value = textproto.CanonicalMIMEHeaderKey(name), strings.Trim(value, " \t")
		if _, twice := h[name]; twice {
			return nil
		}
		switch name {
		case "Transfer-Encoding", "Trailer", "Pragma":
			return nil
		case "Connection":
			if !strings.EqualFold(value, "keep-alive") {
				return nil
			}
		}
		values[0] = value
		h[name], values = values[:1:1], values[1:]
	}
	return h
}

// cutLine takes a line with its end off a text.
func cutLine(text string) (line, rest string, ok bool) {
	line, rest, ok = strings.Cut(text, "\n")
	if !ok || len(line) == 0 || line[len(line)-1] != '\r' {
		return "", "", false
	}
	return line[:len(line)-1], rest, true
}

// number reads digits only, as many as surely fit.
func number(s string) (n int64, ok bool) {
	if len(s) == 0 || len(s) > 18 {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int64(s[i]-'0')
	}
	return n, true
}
