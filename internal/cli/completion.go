package cli

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// completeWithin bounds how long a shell waits for names from the server. Whatever goes wrong is silent: nobody wants to read an
// error in the middle of a line.
const completeWithin = time.Second

// source asks the server for the names of something; what follows a tab in a name explains it.
type source func(ctx context.Context, p *program, c *client) ([]string, error)

// named makes a source of the items of a list.
func named[T any](path string, query url.Values, name func(T) string) source {
	return func(ctx context.Context, p *program, c *client) ([]string, error) {
		q := p.withApp(url.Values{"limit": {"1000"}})
		if path == "/v1/workers" || path == "/v1/apps" || path == "/v1/kinds" {
			q.Del("app")
		}
		for k, v := range query {
			q[k] = v
		}
		list, _, err := fetch[apiv1.List[T]](ctx, c, get(path, q))
		var names []string
		for _, item := range list.Items {
			names = append(names, name(item))
		}
		return names, err
	}
}

// The names that are completed.
func completeQueues(ctx context.Context, p *program, c *client) ([]string, error) {
	return named("/v1/queues", nil, func(q apiv1.Queue) string { return q.Name })(ctx, p, c)
}

func completeKinds(ctx context.Context, p *program, c *client) ([]string, error) {
	return named("/v1/kinds", nil, func(k apiv1.Kind) string { return k.Name })(ctx, p, c)
}

func completeWorkers(ctx context.Context, p *program, c *client) ([]string, error) {
	return named("/v1/workers", nil, func(w apiv1.Worker) string { return w.ID.String() + "\t" + w.State + " on " + w.Host })(ctx, p, c)
}

func completeApps(ctx context.Context, p *program, c *client) ([]string, error) {
	return named("/v1/apps", nil, func(a apiv1.App) string { return a.ID + "\t" + a.Name })(ctx, p, c)
}

func completeSchedules(ctx context.Context, p *program, c *client) ([]string, error) {
	return named("/v1/schedules", nil, func(s apiv1.Schedule) string { return s.Name + "\t" + s.Description })(ctx, p, c)
}

func completeLimitKeys(ctx context.Context, p *program, c *client) ([]string, error) {
	return named("/v1/limit-keys", nil, func(k apiv1.LimitKey) string { return k.Key })(ctx, p, c)
}

// completion is what cobra calls for a word.
type completion = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective)

// complete makes a completion of a source.
func (p *program) complete(from source) completion {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		return matching(p.names(cmd, from), args, word), cobra.ShellCompDirectiveNoFileComp
	}
}

func (p *program) names(cmd *cobra.Command, from source) []string {
	cfg, app, err := p.loadCLI(cmd)
	if err != nil {
		return nil
	}
	p.app = app
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
	defer cancel()
	c := newClient(cfg, p.Version, p.clock)
	c.hasty = true
	defer c.http.CloseIdleConnections()
	names, err := from(ctx, p, c)
	if err != nil {
		return nil
	}
	return names
}

// matching gives the names that begin with a word and are not yet on the line, clean: a shell prints them.
func matching(names, args []string, word string) []string {
	out := []string{}
	for _, n := range names {
		name, about, _ := strings.Cut(n, "\t")
		if name != clean(name) || !strings.HasPrefix(name, word) || slices.Contains(args, name) {
			continue
		}
		if about = clean(about); about != "" {
			name += "\t" + about
		}
		out = append(out, name)
	}
	return out
}

// completing gives a command names for its arguments: for all of them when it takes many, else for the first.
func (p *program) completing(from source, cmd *cobra.Command) *cobra.Command {
	of, many := p.complete(from), strings.Contains(cmd.Use, "...")
	cmd.ValidArgsFunction = func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 && !many {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return of(c, args, word)
	}
	return cmd
}

// completeContexts gives the names of contexts; no server is asked.
func (p *program) completeContexts(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	c, err := readContexts(p.Environ)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return matching(c.names(), args, word), cobra.ShellCompDirectiveNoFileComp
}
