package system

import "net/http"

// API is what a System implements that can be submitted to over HTTP.
type API interface {
	// API tells how to submit one task.
	API() Endpoint
}

// Endpoint is where to POST one task.
type Endpoint struct {
	URL      string
	Header   http.Header
	Body     func(t Task) []byte
	Accepted func(t Task, answer []byte) error // is given the body of every 2xx answer
}
