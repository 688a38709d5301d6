package httpcall

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"

	"github.com/taskweir/taskweir/internal/runner/payload"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

// HTTP runs kind http.
type HTTP struct {
	caller caller
	sites  *sites
}

// NewHTTP makes the runner of kind http.
func NewHTTP(o Options) *HTTP { return &HTTP{caller: newCaller(o), sites: newSites()} }

// Kind is http.
func (*HTTP) Kind() string { return "http" }

// Run makes the request that the payload describes.
func (r *HTTP) Run(ctx context.Context, job worker.Job) task.Result {
	var p spec
	if err := p.read(job.Payload); err != nil {
		return invalid("is not a request")
	}
	to, bad := r.sites.of(p.URL)
	if bad != nil {
		return invalid(payload.Text(*bad))
	}
	if wrong := p.check(); len(wrong) > 0 {
		return invalid(payload.Text(wrong[0]))
	}
	body, contentType, err := p.content()
	if err != nil {
		return invalid(err.Error())
	}
	h := make(http.Header, 8+len(p.Headers))
	r.caller.identify(h, &job)
	if contentType != "" {
		h["Content-Type"] = []string{contentType}
	}
	if to.auth != "" {
		h["Authorization"] = []string{to.auth}
	}
	// None of these is one of ours: check refused them.
	for name, value := range p.Headers {
		h[http.CanonicalHeaderKey(name)] = []string{value}
	}
	return r.caller.send(ctx, &job, &request{method: p.Method, url: to.url, header: h, body: body}, judge)
}

// takeUser takes name and password out of a URL and gives the header that they mean; empty: there were none.
func takeUser(u *url.URL) string {
	if u.User == nil {
		return ""
	}
	password, _ := u.User.Password()
	auth := "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
	u.User = nil
	return auth
}

// invalid is the end of a task whose payload cannot be run.
func invalid(why string) task.Result {
	return task.Result{Outcome: task.OutcomeFailed, Permanent: true, ErrCode: "invalid_payload", ErrMessage: why}
}
