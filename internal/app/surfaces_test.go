package app

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// makeApplication asks for an app through GoodJob, over loopback and as a proxy would, and gives the answer.
func makeApplication(t *testing.T, a *App) (status int, body string) {
	t.Helper()
	_, port, err := net.SplitHostPort(a.Addr())
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"appName": {"shop"}, "linkUrl": {"http://127.0.0.1:9/"}}.Encode()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://127.0.0.1:"+port+"/goodjob/application", strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Forwarded-For", "127.0.0.1")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(raw)
}

// A standalone serves the legacy APIs unless it is told not to. Whether everybody may make apps there is decided by the address that it
// listens on, although every caller of this test is local.
func TestWhoMayMakeAppsThroughALegacySurface(t *testing.T) {
	for _, c := range []struct {
		environ []string
		status  int
		holds   string
	}{
		{nil, 200, `"secretKey":"`},
		{[]string{"TASKWEIR_HTTP_ADDR=localhost:0"}, 200, `"secretKey":"`},
		{[]string{"TASKWEIR_HTTP_ADDR=0.0.0.0:0"}, 200, `{"code":0,"data":{},"message":"创建应用需要管理员密钥!"}`},
		{[]string{"TASKWEIR_HTTP_ADDR=:0"}, 200, `{"code":0,"data":{}`},
		{[]string{"TASKWEIR_SURFACES=none"}, 404, `"not_found"`},
	} {
		a := newStandalone(t, t.TempDir(), c.environ...)
		if status, body := makeApplication(t, a); status != c.status || !strings.Contains(body, c.holds) {
			t.Errorf("%v: %d %s", c.environ, status, body)
		}
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
	}
}
