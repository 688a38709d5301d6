package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/url"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

// page is one request that is timed.
type page struct {
	name, path string
	admin      bool // asked for with the admin's key
}

// lister asks one database's API.
type lister struct {
	d     *database
	api   *testkit.Process
	c     *caller // of the largest app
	admin *caller
	pages []page
}

// lists times every page of every database in turns.
func (k *kit) lists(ctx context.Context, all []*database) (err error) {
	var listers []*lister
	defer func() {
		for _, l := range listers {
			l.c.close()
			l.admin.close()
			if serr := l.api.Stop(context.WithoutCancel(ctx)); err == nil {
				err = serr
			}
		}
	}()
	for _, d := range all {
		api, base, err := k.role(ctx, d, "api")
		if err != nil {
			return err
		}
		l := &lister{d: d, api: api, c: newCaller(base, d.key), admin: newCaller(base, k.keys.Bootstrap)}
		listers = append(listers, l)
		if err := l.choose(ctx); err != nil {
			return err
		}
	}
	for i := range listers[0].pages {
		for range k.o.pages {
			for _, l := range listers {
				if err := l.time(ctx, k.report, l.pages[i]); err != nil {
					return err
				}
			}
		}
	}
	k.say("lists: %d pages", len(listers[0].pages))
	return nil
}

// time asks for a page.
func (l *lister) time(ctx context.Context, r *report, p page) error {
	if p.path == "" { // this database has no such page
		return nil
	}
	c := l.c
	if p.admin {
		c = l.admin
	}
	began := time.Now()
	if err := c.call(ctx, "GET", p.path, nil, nil); err != nil {
		return err
	}
	r.figure("lists", p.name, "ms").add(l.d.title, float64(time.Since(began).Microseconds())/1000)
	return nil
}

// choose lists what is asked for: each filter's first page, and one from the middle of the tasks, or, where the order is that of
// due times, the eleventh page.
func (l *lister) choose(ctx context.Context) error {
	at := func(share float64) string {
		return url.QueryEscape(instant(l.d.begin + int64(share*float64(l.d.end-l.d.begin))))
	}
	filters := []struct{ name, query string }{
		{"no filter", ""},
		{"state=succeeded", "state=succeeded"}, {"state=failed", "state=failed"}, {"state=cancelled", "state=cancelled"},
		{"state=running", "state=running"}, {"state=queued", "state=queued"}, {"state=scheduled", "state=scheduled"}, {"state=blocked", "state=blocked"},
		{"queue", "queue=reports"}, {"queue that has none", "queue=" + freshQueue}, {"kind", "kind=render"}, {"kind, 1 in 100,000", "kind=rare"},
		{"label, 1 in 20,000", "label=customer:c3"}, {"label that nobody has", "label=customer:nobody"}, {"label and state", "label=customer:c3&state=failed"},
		{"uniqueKey", fmt.Sprintf("uniqueKey=order-%d", l.d.finished/2/100*100+5)}, {"uniqueKey that nobody had", "uniqueKey=nosuch"},
		{"from", "from=" + at(0.9)}, {"to", "to=" + at(0.5)}, {"from and to", "from=" + at(0.5) + "&to=" + at(0.501)},
		{"to and state=failed", "state=failed&to=" + at(0.3)}, {"to and label", "label=customer:c43&to=" + at(0.5)},
		{"state=failed, queue and kind", "state=failed&queue=orders&kind=notify"}, {"limit=1000", "limit=1000"},
	}
	for _, f := range filters {
		path := "/v1/tasks?" + f.query
		deep, err := l.deep(ctx, f.query, path)
		if err != nil {
			return err
		}
		l.pages = append(l.pages, page{name: f.name, path: path}, page{name: f.name + ": from the middle", path: deep})
	}
	ids := ""
	for i := range 100 {
		ids += fmt.Sprintf("%d,", l.d.first+int64(i*max(1, l.d.finished/100)))
	}
	day := fmt.Sprintf("from=%s&to=%s", url.QueryEscape(instant(l.d.end-dayMs)), url.QueryEscape(instant(l.d.end)))
	one, err := l.oneTask(ctx)
	if err != nil {
		return err
	}
	l.pages = append(l.pages, page{name: "ids, 100 of all ages", path: "/v1/tasks?ids=" + ids[:len(ids)-1]}, page{name: "one task", path: one},
		page{name: "stats of a day", path: "/v1/stats?" + day}, page{name: "stats of a day by queue", path: "/v1/stats?by=queue&" + day},
		page{name: "stats of a day by kind and minute", path: "/v1/stats?by=kind&stepMs=60000&" + day}, page{name: "queues, with depths", path: "/v1/queues"})
	for _, f := range []struct{ name, query string }{{"no filter", ""}, {"state=failed", "state=failed"}, {"kind, 1 in 100,000", "kind=rare"}, {"label", "label=customer:c3"}, {"to", "to=" + at(0.5)}} {
		l.pages = append(l.pages, page{name: "an app with 1 in 100 tasks: " + f.name, path: "/v1/tasks?app=" + l.d.small + "&" + f.query, admin: true})
	}
	return nil
}

// oneTask is a task of the middle; "" when there is none.
func (l *lister) oneTask(ctx context.Context) (string, error) {
	middle := l.pages[1].path
	if middle == "" {
		return "", nil
	}
	var got struct{ Items []struct{ ID string } }
	if err := l.c.call(ctx, "GET", middle, nil, &got); err != nil || len(got.Items) == 0 {
		return "", err
	}
	return "/v1/tasks/" + got.Items[0].ID, nil
}

// deep gives the page from the middle; "" when the list has only one.
func (l *lister) deep(ctx context.Context, query, path string) (string, error) {
	next := ""
	for range 10 {
		var got struct{ NextCursor string }
		from := path
		if next != "" {
			from += "&cursor=" + next
		}
		if err := l.c.call(ctx, "GET", from, nil, &got); err != nil {
			return "", err
		}
		if got.NextCursor == "" {
			return "", nil
		}
		next = got.NextCursor
		if middle := l.middle(next); middle != "" {
			return path + "&cursor=" + middle, nil
		}
	}
	return path + "&cursor=" + next, nil
}

// middle is a cursor of a list by id, moved to the middle of the finished tasks; "" for another cursor. Clients cannot know what is
// in a cursor; this command knows, so as not to have to turn 100,000 pages.
func (l *lister) middle(cursor string) string {
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(raw) < 3 || raw[1] != 'i' {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(binary.AppendVarint(raw[:2:2], l.d.first+int64(l.d.finished/2)))
}
