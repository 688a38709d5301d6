package compat

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/taskweir/taskweir/internal/httpkit"
)

// Surface is one legacy API, ready to be mounted.
type Surface struct {
	Name   string          // as in the setting "surfaces"; it answers below "/" + Name
	Routes []httpkit.Route // their paths begin with a slash
	// Speaks reports whether a request is in this surface's dialect. It is asked at the root only, where another surface
	// has a route of the same method and path. nil: it takes what no other one does.
	Speaks func(r *httpkit.Request) bool
	// Elsewhere renders what has no route below the surface's prefix, or at the root below the first part of one of its paths: an error of kind NotFound or, with code
	// "method_not_allowed", of a path that does not answer the method.
	Elsewhere func(r *httpkit.Request, err error) httpkit.Response
}

// Mount adds the routes of surfaces to an engine, each below its prefix, and of those named in atRoot also at the root, where
// a path that several of them have goes to the one whose dialect the request speaks. It panics on surfaces that cannot be told
// apart: a mistake in a table.
func Mount(e *httpkit.Engine, atRoot []string, surfaces ...Surface) {
	type address struct{ method, path string }
	shared := map[address][]choice{}
	var order []address
	for _, s := range surfaces {
		for _, r := range s.Routes {
			below := r
			below.Path = "/" + s.Name + r.Path
			e.Handle(below)
			if !slices.Contains(atRoot, s.Name) {
				continue
			}
			at := address{r.Method, r.Path}
			if shared[at] == nil {
				order = append(order, at)
			}
			shared[at] = append(shared[at], choice{s.Speaks, r})
		}
		e.Elsewhere("/"+s.Name, s.Elsewhere)
	}
	for _, at := range order {
		e.Handle(choose(shared[at]))
	}
	elsewhereAtRoot(e, atRoot, surfaces)
}

// elsewhereAtRoot lets surfaces answer at the root what has no route but begins as one of their paths does: "/task/…".
func elsewhereAtRoot(e *httpkit.Engine, atRoot []string, surfaces []Surface) {
	sharing := map[string][]Surface{}
	var order []string
	for _, s := range surfaces {
		if !slices.Contains(atRoot, s.Name) {
			continue
		}
		for _, r := range s.Routes {
			first, _, _ := strings.Cut(strings.TrimPrefix(r.Path, "/"), "/")
			if of := sharing[first]; first == "" || len(of) > 0 && of[len(of)-1].Name == s.Name {
				continue
			}
			if sharing[first] == nil {
				order = append(order, first)
			}
			sharing[first] = append(sharing[first], s)
		}
	}
	for _, first := range order {
		of := sharing[first]
		e.Elsewhere("/"+first, func(r *httpkit.Request, err error) httpkit.Response {
			for _, s := range of {
				if s.Speaks != nil && s.Speaks(r) {
					return s.Elsewhere(r, err)
				}
			}
			for _, s := range of {
				if s.Speaks == nil {
					return s.Elsewhere(r, err)
				}
			}
			return of[0].Elsewhere(r, err)
		})
	}
}

// choice is a route at the root and the rule for taking it.
type choice struct {
	speaks func(r *httpkit.Request) bool
	route  httpkit.Route
}

// choose makes one route of those that share an address.
func choose(of []choice) httpkit.Route {
	if len(of) == 1 {
		return of[0].route
	}
	slices.SortStableFunc(of, func(a, b choice) int { // the one without a rule comes last
		switch {
		case a.speaks != nil && b.speaks == nil:
			return -1
		case a.speaks == nil && b.speaks != nil:
			return 1
		}
		return 0
	})
	for _, c := range of[:len(of)-1] {
		if c.speaks == nil {
			panic(fmt.Sprintf("two surfaces take whatever comes to %s %s", c.route.Method, c.route.Path))
		}
	}
	pick := func(r *httpkit.Request) *httpkit.Route {
		for i := range of[:len(of)-1] {
			if of[i].speaks(r) {
				return &of[i].route
			}
		}
		return &of[len(of)-1].route
	}
	return httpkit.Route{
		Method: of[0].route.Method, Path: of[0].route.Path,
		Handle: func(ctx context.Context, r *httpkit.Request) (httpkit.Response, error) { return pick(r).Handle(ctx, r) },
		Fail: func(r *httpkit.Request, err error) httpkit.Response {
			if fail := pick(r).Fail; fail != nil {
				return fail(r, err)
			}
			return httpkit.Problem(r, err)
		},
	}
}
