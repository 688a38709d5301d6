package goodjob

import (
	"net/http"
	"testing"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// What a client of this surface changes is in the audit trail, under the surface's name; and a disabled app is one that is not there.
func TestChangesAreAuditedAndDisabledAppsShutOut(t *testing.T) {
	w := onSQLite(t)
	id := w.create("runtime", w.later(600))
	w.ok(w.call("/task/abort", "taskId", id))
	w.ok(w.call("/task/retry", "taskId", id))
	var page apiv1.List[apiv1.AuditEntry]
	if status := w.v1("GET", "/v1/audit?target="+id, "", &page); status != http.StatusOK || len(page.Items) != 2 {
		t.Fatalf("%d, %+v", status, page)
	}
	for i, action := range []string{"task.retry", "task.cancel"} {
		e := page.Items[i]
		if e.Action != action || e.Actor.Surface != Name || e.Actor.App != w.app.AppKey || e.App != w.app.AppKey || e.Actor.Key != 0 || e.Actor.Address == "" || e.Request == "" {
			t.Errorf("%+v", e)
		}
	}
	if status := w.v1("GET", "/v1/audit?action=app.create&target="+w.app.AppKey, "", &page); status != http.StatusOK || len(page.Items) != 1 || page.Items[0].Actor.Surface != Name {
		t.Errorf("%d, %+v", status, page.Items)
	}
	if status := w.v1("PATCH", "/v1/apps/"+w.app.AppKey, `{"disabled":true}`, nil); status != http.StatusOK {
		t.Fatal(status)
	}
	w.refused(w.call("/task/detail", "taskId", id), textNoApp)
	w.refused(w.call("/task/create", "taskNo", "late", "content", "{}"), textNoApp)
	if row := w.row(id); row.State != task.Waiting {
		t.Errorf("what waits does not wait: %+v", row)
	}
	if status := w.v1("PATCH", "/v1/apps/"+w.app.AppKey, `{"disabled":false}`, nil); status != http.StatusOK {
		t.Fatal(status)
	}
	w.ok(w.call("/task/detail", "taskId", id))
}
