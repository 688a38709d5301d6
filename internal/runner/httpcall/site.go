package httpcall

import (
	"hash/maphash"
	"net/url"
	"sync/atomic"

	"github.com/taskweir/taskweir/internal/task"
)

// site is a URL as calls use it. It is shared by them and never changed.
type site struct {
	text string
	url  *url.URL // without name and password
	auth string   // the header that those mean; empty: there were none
}

// sites remembers the URLs that were called lately: many tasks call few. A place is taken by whoever comes later.
type sites struct {
	seed  maphash.Seed
	known [256]atomic.Pointer[site]
}

func newSites() *sites { return &sites{seed: maphash.MakeSeed()} }

// of parses a URL, or knows it.
func (s *sites) of(text string) (*site, *task.FieldError) {
	place := &s.known[maphash.String(s.seed, text)%uint64(len(s.known))]
	if at := place.Load(); at != nil && at.text == text {
		return at, nil
	}
	u, wrong := parseURL(text)
	if wrong != nil {
		return nil, wrong
	}
	at := &site{text: text, url: u}
	at.auth = takeUser(u)
	place.Store(at)
	return at, nil
}
