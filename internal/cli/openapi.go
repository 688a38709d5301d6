package cli

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"runtime"

	"github.com/spf13/cobra"
)

func (p *program) openapi() *cobra.Command {
	cmd := &cobra.Command{
		Use: "openapi", Short: "Print the server's OpenAPI document", Args: arguments(0, 0, ""),
		Long: "Prints the OpenAPI 3.1 document that the server makes of its own types, as JSON. The same, to be read: /docs of the server.",
	}
	p.apiFlags(cmd)
	cmd.RunE = p.connected(func(ctx context.Context, c *client, _ []string) error {
		raw, err := c.call(ctx, request{method: http.MethodGet, path: "/openapi.json", open: true})
		return p.rawUnless(err, raw)
	})
	return cmd
}

// buildInfo is how a server tells its version, among its metrics.
var buildInfo = regexp.MustCompile(`(?m)^taskweir_build_info\{(?:[^}]*,)?version="([^"]*)"`)

func (p *program) version() *cobra.Command {
	var server bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version, with --server the server's too", Args: arguments(0, 0, ""),
	}
	p.apiFlags(cmd)
	cmd.Flags().BoolVar(&server, "server", false, "ask the server for its version too")
	cmd.RunE = func(c *cobra.Command, args []string) error {
		if !server {
			return p.printVersion("")
		}
		return p.connected(func(ctx context.Context, c *client, _ []string) error {
			raw, err := c.call(ctx, request{method: http.MethodGet, path: "/metrics", open: true})
			if err != nil {
				return err
			}
			m := buildInfo.FindSubmatch(raw)
			if m == nil {
				return fmt.Errorf("%s does not tell its version", c.base)
			}
			return p.printVersion(string(m[1]))
		})(c, args)
	}
	return cmd
}

func (p *program) printVersion(server string) error {
	if p.json() {
		v := map[string]string{"version": p.Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
		if server != "" {
			v["server"] = server
		}
		return p.printJSON(v)
	}
	if p.quiet {
		return p.say(p.Version)
	}
	if err := p.say(fmt.Sprintf("taskweir %s %s %s/%s", p.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)); err != nil {
		return err
	}
	if server != "" {
		return p.say("server " + server)
	}
	return nil
}
