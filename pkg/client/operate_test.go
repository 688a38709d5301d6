package client_test

import (
	"testing"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
	"github.com/taskweir/taskweir/pkg/client"
)

// A bulk operation is followed to its end, what was done is in the statistics, and who did it in the audit trail.
func TestOperating(t *testing.T) {
	ctx, c := t.Context(), connect()
	defer c.Close()
	for range 3 {
		must[*client.Submitted](t)(c.Submit(ctx, "echo", nil, client.Queue("operated"), client.Delay(time.Hour)))
	}
	order := apiv1.BulkCreate{Action: apiv1.BulkCancel, Filter: apiv1.BulkFilter{Queue: "operated"}}
	b := must[*apiv1.Bulk](t)(c.Bulk.Start(ctx, order, client.IdempotencyKey("operated")))
	if again := must[*apiv1.Bulk](t)(c.Bulk.Start(ctx, order, client.IdempotencyKey("operated"))); again.ID != b.ID {
		t.Errorf("%s was begun a second time as %s", b.ID, again.ID)
	}
	told := 0
	done := must[*apiv1.Bulk](t)(c.Bulk.Wait(ctx, b.ID, func(apiv1.Bulk) { told++ }))
	if done.Changed != 3 || told == 0 {
		t.Errorf("%+v, told %d times", done, told)
	}
	if list, err := client.Collect(c.Bulk.List(ctx, client.Page{Size: 1}), 0); err != nil || len(list) == 0 {
		t.Errorf("%+v %v", list, err)
	}
	stats := must[*apiv1.Stats](t)(c.Stats(ctx, client.StatsQuery{From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Minute), Step: time.Minute, By: "queue"}))
	if stats.StepMs != 60_000 || stats.By != "queue" {
		t.Errorf("%+v", stats)
	}
	must[*apiv1.Kind](t)(c.Kinds.Get(ctx, "echo"))
	trail, err := client.Collect(c.Audit(ctx, client.AuditFilter{From: time.Now().Add(-time.Hour), Page: client.Page{Size: 2}}), 5)
	if err != nil || len(trail) == 0 || trail[0].Action == "" || trail[0].Actor.Surface != "v1" {
		t.Errorf("%+v %v", trail, err)
	}
}
