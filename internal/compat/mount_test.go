package compat

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/taskweir/taskweir/internal/httpkit"
)

// said answers with a text.
func said(text string) httpkit.Response {
	return httpkit.Response{Status: 200, ContentType: "text/plain", Body: []byte(text)}
}

// surface is one whose answers begin with its name.
func surface(name string, speaks func(*httpkit.Request) bool, addresses ...[2]string) Surface {
	s := Surface{Name: name, Speaks: speaks, Elsewhere: func(_ *httpkit.Request, err error) httpkit.Response { return said(name + ": no route") }}
	for _, a := range addresses {
		s.Routes = append(s.Routes, httpkit.Route{Method: a[0], Path: a[1], Handle: func(context.Context, *httpkit.Request) (httpkit.Response, error) {
			return said(name + ": " + a[1]), nil
		}})
	}
	return s
}

// Which surface answers is a matter of the prefix, and at the root of what a request speaks; what is none's is the engine's.
func TestWhichSurfaceAnswers(t *testing.T) {
	marked := func(r *httpkit.Request) bool { return r.HasHeader("mark") }
	plain := surface("plain", nil, [2]string{"GET", "/"}, [2]string{"POST", "/task/create"}, [2]string{"POST", "/application"})
	other := surface("other", marked, [2]string{"POST", "/task/create"}, [2]string{"POST", "/nsq/publish"}, [2]string{"GET", "/task/detail"})
	both := httpkit.New(httpkit.Options{})
	Mount(both, []string{"plain", "other"}, plain, other)
	one := httpkit.New(httpkit.Options{})
	Mount(one, []string{"other"}, plain, other)
	const nobody = ""
	for _, c := range []struct {
		method, path          string
		both, bothMarked, one string
	}{
		{"GET", "/", "plain: /", "plain: /", nobody},
		{"POST", "/task/create", "plain: /task/create", "other: /task/create", "other: /task/create"},
		{"POST", "/plain/task/create", "plain: /task/create", "plain: /task/create", "plain: /task/create"},
		{"GET", "/task/detail", "other: /task/detail", "other: /task/detail", "other: /task/detail"},
		{"POST", "/nsq/publish", "other: /nsq/publish", "other: /nsq/publish", "other: /nsq/publish"},
		{"GET", "/task/create", "plain: no route", "other: no route", "other: no route"},
		{"POST", "/task/nothing", "plain: no route", "other: no route", "other: no route"},
		{"GET", "/task", "plain: no route", "other: no route", "other: no route"},
		{"POST", "/nsq/other", "other: no route", "other: no route", "other: no route"},
		{"POST", "/application/create", "plain: no route", "plain: no route", nobody},
		{"POST", "/plain/nsq/publish", "plain: no route", "plain: no route", "plain: no route"},
		{"POST", "/tasks", nobody, nobody, nobody},
		{"POST", "/nothing", nobody, nobody, nobody},
	} {
		for _, x := range []struct {
			e      *httpkit.Engine
			marked bool
			want   string
		}{{both, false, c.both}, {both, true, c.bothMarked}, {one, false, c.one}} {
			r := httptest.NewRequest(c.method, c.path, nil)
			if x.marked {
				r.Header.Set("mark", "")
			}
			w := httptest.NewRecorder()
			x.e.ServeHTTP(w, r)
			if got := w.Body.String(); x.want == nobody && w.Code != 404 || x.want != nobody && got != x.want {
				t.Errorf("%s %s, marked %v: %d %s, want %q", c.method, c.path, x.marked, w.Code, got, x.want)
			}
		}
	}
}

// Two that take whatever comes cannot share an address.
func TestSurfacesThatCannotBeToldApart(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("they share it")
		}
	}()
	Mount(httpkit.New(httpkit.Options{}), []string{"a", "b"}, surface("a", nil, [2]string{"GET", "/x"}), surface("b", nil, [2]string{"GET", "/x"}))
}
