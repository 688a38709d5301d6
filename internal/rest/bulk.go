package rest

import (
	"context"
	"net/http"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// createBulk answers 202: the operation goes on in the background.
func (a *api) createBulk(ctx context.Context, c call) (httpkit.Response, error) {
	in := &control.BulkInput{}
	s, err := c.JSON(func(s *httpkit.Scanner) { s.Object(func(key []byte) { decodeBulk(s, in, key) }) })
	if err != nil {
		return httpkit.Response{}, err
	}
	if in.Broken = s.Broken(); len(in.Broken) > 0 && in.Broken[0].Field == "" {
		return httpkit.Response{}, broken(in.Broken)
	}
	raw, _ := c.Body()
	op, replayed, err := a.svc.CreateBulk(ctx, c.who, in, idempotency(c, raw))
	if err != nil {
		return httpkit.Response{}, err
	}
	if replayed {
		c.SetHeader(apiv1.HeaderReplayed, "true")
	}
	return httpkit.JSON(http.StatusAccepted, bulkOf(&op))
}

func decodeBulk(s *httpkit.Scanner, in *control.BulkInput, key []byte) {
	switch string(key) {
	case "action":
		in.Action = text(s)
	case "filter":
		s.Object(func(key []byte) { decodeBulkFilter(s, in, key) })
	case "dryRun":
		in.DryRun, _ = s.Bool()
	default:
		s.Unknown()
	}
}

func decodeBulkFilter(s *httpkit.Scanner, in *control.BulkInput, key []byte) {
	switch string(key) {
	case "state":
		in.State = text(s)
	case "queue":
		in.Queue = text(s)
	case "kind":
		in.Kind = text(s)
	case "labels":
		in.Labels = decodeLabels(s)
	case "uniqueKey":
		in.UniqueKey = text(s)
	case "from":
		in.From = instant(s)
	case "to":
		in.To = instant(s)
	case "ids":
		in.HasIDs = true
		s.Array(func(i int) {
			if i > control.MaxBatch {
				s.Raw() // refused for their number anyway
				return
			}
			if v, ok := s.String(); ok {
				id, err := apiv1.ParseID(v)
				if err != nil {
					s.Break("format", "must be an id")
				}
				in.IDs = append(in.IDs, int64(id))
			}
		})
	default:
		s.Unknown()
	}
}

func bulkOf(b *task.Bulk) apiv1.Bulk {
	f := apiv1.BulkFilter{State: b.Filter.State, Queue: b.Filter.Queue, Kind: b.Filter.Kind, UniqueKey: b.Filter.UniqueKey}
	if b.Filter.Label != nil {
		f.Labels = map[string]string{b.Filter.Label.Key: b.Filter.Label.Value}
	}
	for _, id := range b.Filter.IDs {
		f.IDs = append(f.IDs, apiv1.ID(id))
	}
	if b.Filter.From != 0 {
		f.From = timeOf(b.Filter.From)
	}
	if b.Filter.To != 0 {
		f.To = timeOf(b.Filter.To)
	}
	return apiv1.Bulk{ID: apiv1.ID(b.ID), App: b.App, Action: b.Action.String(), Filter: f, DryRun: b.DryRun, State: b.State.String(), Matched: b.Matched, Changed: b.Changed,
		Skipped: b.Skipped, Error: b.Error, CreatedAt: apiv1.Time(b.CreatedAt), FinishedAt: apiv1.Time(b.FinishedAt)}
}

func timeOf(ms int64) *apiv1.Time {
	t := apiv1.Time(ms)
	return &t
}

func (a *api) listBulks(ctx context.Context, c call) (httpkit.Response, error) {
	q := queries{c: c}
	n := q.limit()
	if err := q.err(); err != nil {
		return httpkit.Response{}, err
	}
	cursor, _ := c.Query("cursor")
	page, err := a.svc.Bulks(ctx, c.who, cursor, n)
	if err != nil {
		return httpkit.Response{}, err
	}
	out := apiv1.List[apiv1.Bulk]{Items: make([]apiv1.Bulk, len(page.Items)), NextCursor: optional(page.Next)}
	for i := range page.Items {
		out.Items[i] = bulkOf(&page.Items[i])
	}
	return httpkit.JSON(http.StatusOK, out)
}

func (a *api) getBulk(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := pathID(c, "id", "bulk")
	if err != nil {
		return httpkit.Response{}, err
	}
	op, err := a.svc.Bulk(ctx, c.who, id)
	return tagged(bulkOf(&op), err)
}

func (a *api) stopBulk(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := pathID(c, "id", "bulk")
	if err != nil {
		return httpkit.Response{}, err
	}
	if err := noBody(c); err != nil {
		return httpkit.Response{}, err
	}
	op, err := a.svc.StopBulk(ctx, c.who, id)
	return one(bulkOf(&op), err)
}
