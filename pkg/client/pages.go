package client

import (
	"context"
	"fmt"
	"iter"
	"strconv"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// Page chooses where a list begins and how it is read. The zero value reads all of it from its beginning.
type Page struct {
	Size   int    // items a request, 1 … 1,000; 0: as the server likes. Pages may be shorter and still have a next one
	Cursor string // where an earlier list ended
}

func (r *request) page(p Page) *request {
	if p.Size != 0 {
		r.with("limit", strconv.Itoa(p.Size))
	}
	return r.with("cursor", p.Cursor)
}

// pages yields all items of a list, page by page, until the server says that there is no next page: pages may be short or
// empty before that. An error is yielded once and ends it. The request is built anew for each run of the iterator.
func pages[T any](ctx context.Context, c *Client, build func() *request, opts []CallOption) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		for r, cursor := build(), ""; ; {
			if cursor != "" {
				r = build()
				r.query.Set("cursor", cursor)
			}
			page, err := fetch[apiv1.List[T]](ctx, c, r, opts)
			if err != nil {
				yield(none, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if page.NextCursor == nil || *page.NextCursor == "" {
				return
			}
			if *page.NextCursor == cursor {
				yield(none, fmt.Errorf("taskweir: GET %s: the list does not go on: its cursor stays the same", r.path))
				return
			}
			cursor = *page.NextCursor
		}
	}
}

// Collect reads an iterator to its end, or until it has given limit items (0: no limit).
func Collect[T any](items iter.Seq2[T, error], limit int) ([]T, error) {
	var out []T
	for item, err := range items {
		if err != nil {
			return out, err
		}
		if out = append(out, item); len(out) == limit {
			break
		}
	}
	return out, nil
}
