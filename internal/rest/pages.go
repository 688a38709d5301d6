package rest

import (
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"

	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

const (
	pageDefault = 50
	pageMost    = 1000
)

// limit reads ?limit=; its range is checked by whoever uses it.
func limit(c call) (int, bool) {
	v, ok := c.Query("limit")
	if !ok {
		return pageDefault, true
	}
	n, err := strconv.Atoi(v)
	return n, err == nil
}

// list answers with a page of a list that is read whole: apps, keys, kinds, queues, workers. The items come in ascending
// order of what order gives; that of the last one shown, in base64, is the cursor.
func list[T, W any](c call, items []T, err error, wire func(T) W, order func(T) string) (httpkit.Response, error) {
	if err != nil {
		return httpkit.Response{}, err
	}
	n, ok := limit(c)
	if !ok {
		return httpkit.Response{}, task.InvalidField("limit", "type", "must be a whole number")
	}
	if n < 1 || n > pageMost {
		return httpkit.Response{}, task.InvalidField("limit", "range", "must be 1 … 1000")
	}
	if cursor, _ := c.Query("cursor"); cursor != "" {
		after, err := base64.RawURLEncoding.DecodeString(cursor)
		if err != nil {
			return httpkit.Response{}, task.InvalidField("cursor", "format", "is not a cursor of this list")
		}
		if i := slices.IndexFunc(items, func(it T) bool { return order(it) > string(after) }); i >= 0 {
			items = items[i:]
		} else {
			items = nil
		}
	}
	out := apiv1.List[W]{Items: make([]W, 0, min(n, len(items)))}
	for i, it := range items {
		if i == n {
			next := base64.RawURLEncoding.EncodeToString([]byte(order(items[i-1])))
			out.NextCursor = &next
			break
		}
		out.Items = append(out.Items, wire(it))
	}
	return httpkit.JSON(http.StatusOK, out)
}

// newestFirst is listNewest's order: a text that is the smaller the larger the id is.
func newestFirst(id int64) string { return fmt.Sprintf("%019d", math.MaxInt64-id) }

// listNewest is list for what has ids and comes in their order: newest first, as the tasks' lists are.
func listNewest[T, W any](c call, items []T, err error, wire func(T) W, id func(T) int64) (httpkit.Response, error) {
	items = slices.Clone(items)
	slices.Reverse(items)
	return list(c, items, err, wire, func(it T) string { return newestFirst(id(it)) })
}
