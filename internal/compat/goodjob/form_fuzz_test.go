package goodjob

import (
	"testing"
	"time"
	"unicode/utf8"

	"github.com/taskweir/taskweir/internal/compat"
	"github.com/taskweir/taskweir/internal/httpkit"
)

// FuzzForm reads anything as the form or the JSON of a task and of an application: what is taken keeps the rules of the document,
// and is read alike each time.
func FuzzForm(f *testing.F) {
	zone, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range [][2]string{
		{"", "taskNo=a6&content=%7B%22a%22%3A1%7D&runtime=2031-03-04+11%3A42%3A36"}, {"application/json", `{"taskNo":"a6","content":{"a":[1,null]},"runtime":1614829356}`},
		{"", "appName=shop&step=60&retryTotal=3&linkUrl=http%3A%2F%2Fx.example%2Fc&remark=r&callbackHeaderStyle=x"}, {"application/json", `{"appName":1,"step":"1e3","retryTotal":-1,"linkUrl":null}`},
		{"", "taskNo[]=1&taskNo=2&content=%00"}, {"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"taskNo\"\r\n\r\n1\r\n--x--"},
	} {
		f.Add(s[0], []byte(s[1]))
	}
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		p, err := compat.Decode(kind, body)
		if err != nil {
			return
		}
		a := &api{zone: zone}
		if in, err := a.taskInput(call{params: p}); err == nil {
			if n := utf8.RuneCountInString(in.UniqueKey.V); n < 1 || n > maxTaskNo || !httpkit.ValidJSON(in.Payload) || in.Kind != Kind || in.TimeoutMs.V != timeoutMs {
				t.Fatalf("%q: %+v", body, in)
			}
			again, err := a.taskInput(call{params: p})
			if err != nil || string(again.Payload) != string(in.Payload) || again.RunAt != in.RunAt || again.UniqueKey != in.UniqueKey {
				t.Fatalf("%q: %+v, then %+v, %v", body, in, again, err)
			}
		}
		given := p.Get("remark")
		if s, ok := given.Scalar(); !ok || s == "" {
			return // the remark would be the time
		}
		if in, err := a.appInput(p); err == nil {
			if n := utf8.RuneCountInString(in.Name.V); n < 1 || n > maxAppName || in.Step.V < 0 || in.Step.V > maxStep || in.RetryTotal.V < 0 || in.RetryTotal.V > maxRetries ||
				utf8.RuneCountInString(in.CallbackURL.V) > maxURL || utf8.RuneCountInString(in.Remark.V) > maxRemark {
				t.Fatalf("%q: %+v", body, in)
			}
		}
	})
}
