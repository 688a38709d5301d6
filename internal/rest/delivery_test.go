package rest_test

import (
	"strings"
	"testing"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

func TestCompleteRefusesWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	id := w.submit(`{"kind":"echo"}`).ID.String()
	path := "/v1/tasks/" + id + "/complete"
	for _, c := range []struct {
		body        string
		status      int
		field, rule string
	}{
		{`{}`, 422, "epoch", "required"}, {`{}`, 422, "outcome", "one_of"}, {`{"epoch":0,"outcome":"succeeded"}`, 422, "epoch", "range"}, {`{"epoch":"1","outcome":"succeeded"}`, 422, "epoch", "type"},
		{`{"epoch":1,"outcome":"cancelled"}`, 422, "outcome", "one_of"}, {`{"epoch":1,"outcome":"succeeded","error":{"code":"x"}}`, 422, "outcome", "conflict"},
		{`{"epoch":1,"outcome":"failed","result":1}`, 422, "result", "conflict"}, {`{"epoch":1,"outcome":"failed","error":{"code":"A B"}}`, 422, "error.code", "pattern"},
		{`{"epoch":1,"outcome":"failed","error":{"message":"` + strings.Repeat("x", 2049) + `"}}`, 422, "error.message", "max_length"},
		{`{"epoch":1,"outcome":"failed","retryAfterMs":3600001}`, 422, "retryAfterMs", "range"}, {`{"epoch":1,"outcome":"failed","error":{"why":1}}`, 422, "error.why", "unknown_field"},
		{`{"epoch":1,"outcome":"succeeded","state":"x"}`, 422, "state", "unknown_field"}, {`{"epoch":1,"outcome":"succeeded","result":"` + strings.Repeat("x", 64<<10) + `"}`, 413, "result", "max_length"},
	} {
		w.do("POST", path, c.body).refused(c.status, c.field, c.rule)
	}
	w.do("POST", path, `[`).want(400)
	if p := w.do("POST", path, `{"epoch":1,"outcome":"succeeded"}`).want(409).problem(); p.Code != "epoch_mismatch" {
		t.Errorf("%s", p.Code)
	}
	_, key := w.newApp("other", "manage")
	for _, path := range []string{path, "/v1/tasks/999999/complete"} {
		w.as(key).do("POST", path, `{"epoch":1,"outcome":"succeeded"}`).want(404)
	}
	_, reader := w.newApp("reader", "read")
	w.as(reader).do("POST", path, `{"epoch":1,"outcome":"succeeded"}`).want(403)
	for _, path := range []string{"/v1/tasks/" + id + "/resend", "/v1/apps/x/test-callback"} {
		w.as(reader).do("POST", path, "").want(403)
	}
}

func TestAttemptsAndResend(t *testing.T) {
	w := newWorld(t)
	one := w.submit(`{"kind":"echo","delayMs":60000,"completionUrl":"https://shop.example/done"}`)
	id := one.ID.String()
	if one.CompletionURL != "https://shop.example/done" || one.CompleteBy != 0 {
		t.Errorf("%+v", one)
	}
	w.do("GET", "/v1/tasks/"+id+"/attempts/1", "").want(404)
	w.do("GET", "/v1/tasks/"+id+"/attempts/x", "").want(404)
	if got := w.do("POST", "/v1/tasks/"+id+"/resend", "").want(200).task(); got.State != "queued" {
		t.Errorf("a waiting task was not pulled forward: %s", got.State)
	}
	w.do("POST", "/v1/tasks/"+id+"/cancel", "").want(200)
	if got := w.do("POST", "/v1/tasks/"+id+"/resend", "").want(200).task(); got.State != "queued" {
		t.Errorf("a final task was not sent again: %s", got.State)
	}
	list := decode[apiv1.TaskList](w.do("GET", "/v1/tasks?kind=completion", "").want(200))
	if len(list.Items) != 1 || list.Items[0].Queue != "_system" {
		t.Errorf("%+v", list.Items)
	}
}

func TestSecretsOverlap(t *testing.T) {
	w := newWorld(t)
	id, _ := w.newApp("shop", "read")
	app := decode[apiv1.App](w.do("POST", "/v1/apps/"+id+"/secret?overlapMs=86400000", "").want(200))
	if app.SigningSecret == "" || app.OldSecretUntil == 0 {
		t.Errorf("%+v", app)
	}
	if app := decode[apiv1.App](w.do("POST", "/v1/apps/"+id+"/secret", "").want(200)); app.OldSecretUntil != 0 {
		t.Errorf("%+v", app)
	}
	for bad, rule := range map[string]string{"-1": "range", "2592000001": "range", "1d": "type"} {
		w.do("POST", "/v1/apps/"+id+"/secret?overlapMs="+bad, "").refused(422, "overlapMs", rule)
	}
	if app := decode[apiv1.App](w.do("PATCH", "/v1/apps/"+id, `{"keepDeliveries":true}`).want(200)); !app.KeepDeliveries {
		t.Errorf("%+v", app)
	}
}
