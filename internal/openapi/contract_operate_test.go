package openapi_test

import (
	"testing"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

func operateSuccesses(w *world) {
	w.tagged("getKind", "name", "echo")
	for _, q := range []string{"", "by=queue&stepMs=60000", "by=kind&from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00Z&stepMs=3600000", "by=app&app=*"} {
		w.ask("getStats").query(q).do().want(200)
	}
	for _, q := range []string{"", "limit=3", "action=key.create", "target=" + w.vars["app"] + "&app=*", "from=2020-01-01T00:00:00Z&to=2099-01-01T00:00:00Z"} {
		if len(into[apiv1.List[apiv1.AuditEntry]](w.ask("listAudit").query(q).do().want(200)).Items) == 0 {
			w.t.Errorf("no entry of the audit trail for %s", q)
		}
	}
	w.submit(`{"kind":"echo","delayMs":600000,"labels":{"bulk":"1"}}`)
	op := into[apiv1.Bulk](w.ask("createBulk").send(`{"action":"cancel","filter":{"state":"scheduled","queue":"default","kind":"echo","labels":{"bulk":"1"}}}`).do().want(202))
	w.vars["bulk"] = op.ID.String()
	w.ask("createBulk").send(`{"action":"retry","filter":{"ids":["1"]},"dryRun":true}`).do().want(202)
	for _, q := range []string{"", "limit=1&app=*"} {
		w.ask("listBulk").query(q).do().want(200)
	}
	w.tagged("getBulk", "id", op.ID.String())
	w.ask("stopBulk").id(op.ID).do().want(200)
}

// bulkProblems has as many bulk operations running as an app may: nobody works on them here.
func bulkProblems(t *testing.T, c *contract) {
	f := newFaulty(t, c, nil)
	for range 5 {
		f.ask("createBulk").send(`{"action":"cancel","filter":{"state":"queued"}}`).do().want(202)
	}
	f.ask("createBulk").send(`{"action":"cancel","filter":{"state":"queued"}}`).do().code("too_many_bulk_operations")
}
