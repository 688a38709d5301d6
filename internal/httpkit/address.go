package httpkit

import "net"

// Address is the client's address without the port: that of the connection. What a proxy says of whom it speaks for is not
// believed.
func (r *Request) Address() string {
	host, _, err := net.SplitHostPort(r.c.Request.RemoteAddr)
	if err != nil {
		return r.c.Request.RemoteAddr
	}
	return host
}
