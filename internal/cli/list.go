package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// pageFlags choose what of a list is shown.
type pageFlags struct {
	limit  int
	cursor string
	all    bool
}

func (f *pageFlags) add(fs *pflag.FlagSet, most int) {
	fs.IntVar(&f.limit, "limit", most, "at most this many, 1 to 1000")
	fs.StringVar(&f.cursor, "cursor", "", "go on where a list ended")
	fs.BoolVar(&f.all, "all-pages", false, "all pages; with -o json one item a line")
}

// rawItem is an item of a list together with its own JSON.
type rawItem[T any] struct {
	value T
	raw   json.RawMessage
}

// UnmarshalJSON keeps the bytes.
func (i *rawItem[T]) UnmarshalJSON(raw []byte) error {
	i.raw = append(json.RawMessage(nil), raw...)
	return json.Unmarshal(raw, &i.value)
}

// printList prints a page of a list, or all of them: as the API's document, as one item a line, or as a table.
func printList[T any](ctx context.Context, p *program, c *client, path string, query url.Values, f *pageFlags, header string, row func(T) []string) error {
	if query == nil {
		query = url.Values{}
	}
	query.Set("limit", strconv.Itoa(f.limit))
	var rows [][]string
	for cursor := f.cursor; ; {
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		page, raw, err := fetch[apiv1.List[rawItem[T]]](ctx, c, get(path, query))
		if err != nil || p.json() && !f.all {
			return p.rawUnless(err, raw)
		}
		for _, item := range page.Items {
			if p.json() {
				if err := p.printRaw(item.raw); err != nil {
					return err
				}
				continue
			}
			rows = append(rows, row(item.value))
		}
		if cursor = ""; page.NextCursor != nil {
			cursor = *page.NextCursor
		}
		if cursor == "" || !f.all {
			return p.endList(header, rows, cursor)
		}
		if len(rows) >= 1000 { // so that a long list does not wait in memory
			if err := p.table(header, rows); err != nil {
				return err
			}
			rows = rows[:0]
		}
	}
}

func (p *program) endList(header string, rows [][]string, cursor string) error {
	if p.json() {
		return nil
	}
	if err := p.table(header, rows); err != nil {
		return err
	}
	if cursor != "" {
		p.note("\nmore: add --cursor %s, or --all-pages", cursor)
	}
	return nil
}

// appFlag lets the commands of a group act on another app.
func (p *program) appFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().String("app", "", "act on this app, by its public id (admin keys only); * reads those of all")
	_ = cmd.RegisterFlagCompletionFunc("app", p.complete(completeApps))
}

// withApp adds the app that is acted on.
func (p *program) withApp(q url.Values) url.Values {
	if p.app == "" {
		return q
	}
	if q == nil {
		q = url.Values{}
	}
	q.Set("app", p.app)
	return q
}

// parameters gives query parameters from names and values; empty values are left out, the app is added.
func (p *program) parameters(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return p.withApp(q)
}

// get1 makes a command that shows single things by name.
func get1[T any](p *program, use, short string, path func(name string) (string, error), show func(T) error) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: arguments(1, -1, "at least one name or id")}
	cmd.RunE = p.live(cmd, func(ctx context.Context, c *client, args []string) error {
		return forEach(args, func(name string) error {
			address, err := path(name)
			if err != nil {
				return err
			}
			v, raw, err := fetch[T](ctx, c, get(address, p.withApp(nil)))
			if err != nil || p.json() {
				return p.rawUnless(err, raw)
			}
			return show(v)
		})
	})
	return cmd
}

// under makes paths of one collection.
func under(collection string) func(string) (string, error) {
	return func(name string) (string, error) {
		if name == "" || name == "." || name == ".." {
			return "", usage(fmt.Errorf("%q is no name", name))
		}
		return collection + url.PathEscape(name), nil
	}
}
