//go:build !unix

package outbound

// plainWorks: nobody can tell here whether a server has closed a kept connection; net/http's transport reads all the time.
const plainWorks = false

func (l *link) quiet() bool { return false }
