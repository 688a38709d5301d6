package outbound

import (
	"bytes"
	"io"
	"net/http"
)

// Whole is a body that is in memory. It is that of requests made with it, and of answers that came in one piece: who wants its bytes
// takes them, instead of reading them into a copy.
type Whole struct {
	bytes.Reader
	all []byte
}

// NewWhole makes a body of bytes that nobody changes any more.
func NewWhole(b []byte) *Whole {
	w := &Whole{all: b}
	w.Reset(b)
	return w
}

// Bytes is all of it, whatever was read of it. It is not to be changed.
func (w *Whole) Bytes() []byte { return w.all }

// Close does nothing.
func (*Whole) Close() error { return nil }

// known gives a request whose body is of a type that net/http's transport knows to be in memory: it writes such a one together with
// the header.
func known(req *http.Request) *http.Request {
	w, ok := req.Body.(*Whole)
	if !ok {
		return req
	}
	other := *req
	other.Body = io.NopCloser(bytes.NewReader(w.all))
	other.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(w.all)), nil }
	return &other
}
