package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (p *program) apps() *cobra.Command {
	page := pageFlags{}
	list := &cobra.Command{Use: "list", Short: "List the apps", Args: arguments(0, 0, "")}
	list.RunE = p.live(list, func(ctx context.Context, c *client, _ []string) error {
		return printList(ctx, p, c, "/v1/apps", nil, &page, "ID NAME STATE WEIGHT CALLBACK", appRow)
	})
	page.add(list.Flags(), 1000)
	cmd := group("apps", "Apps, their API keys, signing secrets and receivers", `An app owns tasks and schedules. Its public id identifies it; API keys let in; its signing secret signs what it is sent.

  taskweir apps create shop --callback-url https://shop.example.org/hook
  taskweir apps keys create APP --scope submit --name checkout
  taskweir apps test-callback APP`)
	cmd.RunE = listWithoutArguments(list)
	p.apiFlags(cmd)
	of := under("/v1/apps/")
	cmd.AddCommand(list,
		p.completing(completeApps, get1(p, "get APP...", "Show apps with their settings", of, p.showApp)),
		p.createApp(), p.completing(completeApps, p.updateApp()),
		p.completing(completeApps, p.switchApp("pause APP...", "Start nothing more of these apps; what runs goes on", "paused", true, "paused")),
		p.completing(completeApps, p.switchApp("resume APP...", "Start tasks of these apps again", "paused", false, "resumed")),
		p.completing(completeApps, p.switchApp("disable APP...", "Take none of their credentials and no new tasks; what runs goes on", "disabled", true, "disabled")),
		p.completing(completeApps, p.switchApp("enable APP...", "Let disabled apps in again", "disabled", false, "enabled")),
		p.completing(completeApps, p.rotateSecret()), p.completing(completeApps, p.testCallback()), p.keys())
	return cmd
}

func appRow(a apiv1.App) []string {
	return []string{a.ID, a.Name, appState(a), strconv.Itoa(a.Weight), a.CallbackURL}
}

func appState(a apiv1.App) string {
	switch {
	case a.Disabled:
		return "disabled"
	case a.Paused:
		return "paused"
	}
	return "active"
}

func (p *program) showApp(a apiv1.App) error {
	retries := ""
	if a.RetryTotal != nil {
		retries = strconv.Itoa(*a.RetryTotal)
	}
	step := ""
	if a.Step != 0 {
		step = strconv.Itoa(a.Step) + " s"
	}
	p.fields([][2]string{
		{"id", a.ID}, {"name", a.Name}, {"state", appState(a)}, {"weight", strconv.Itoa(a.Weight)}, {"limits", appLimits(a.Limits)}, {"callback", a.CallbackURL},
		{"deliveries", map[bool]string{true: "all are kept", false: "failed and retried ones are kept"}[a.KeepDeliveries]},
		{"old secret", p.whenFull(a.OldSecretUntil)}, {"created", p.whenFull(a.CreatedAt)}, {"surface", a.Surface}, {"step", step}, {"retries", retries},
		{"remark", a.Remark}, {"header style", a.CallbackHeaderStyle}, {"signatures", a.SignatureMode}, {"secret", a.SigningSecret},
	})
	if a.SigningSecret != "" {
		p.note("keep the secret now: it is not shown again")
	}
	return nil
}

func appLimits(l apiv1.Limits) string {
	if l.Rate == nil && l.Concurrency == nil {
		return ""
	}
	return limitsText(l)
}

// appFlags are an app's settings. Rules of the API are left to the API.
type appFlags struct {
	name, callback, remark, headerStyle, signatureMode, id string
	weight, step, retryTotal                               int
	keepDeliveries, ownSecret                              bool
	limits                                                 limitFlags
}

func (f *appFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.callback, "callback-url", "", "where callbacks are POSTed; empty: nowhere")
	fs.IntVar(&f.weight, "weight", 0, "share where apps compete, 1 to 1000 (default 1)")
	fs.BoolVar(&f.keepDeliveries, "keep-deliveries", false, "keep callbacks that succeed at once for inspection too")
	f.limits.addLimits(fs)
	fs.IntVar(&f.step, "step", 0, "older systems: seconds before the first retry")
	fs.IntVar(&f.retryTotal, "retry-total", 0, "older systems: retries after the first run")
	fs.StringVar(&f.remark, "remark", "", "older systems: a remark")
	fs.StringVar(&f.headerStyle, "callback-header-style", "", "older systems: hyphen or underscore")
	fs.StringVar(&f.signatureMode, "signature-mode", "", "older systems: token or strict")
}

// members are what the flags say, by their names in the API.
func (f *appFlags) members(changed func(string) bool) map[string]any {
	out := map[string]any{}
	for flag, m := range map[string]struct {
		name  string
		value any
	}{
		"name": {"name", f.name}, "callback-url": {"callbackUrl", f.callback}, "weight": {"weight", f.weight}, "keep-deliveries": {"keepDeliveries", f.keepDeliveries},
		"step": {"step", f.step}, "retry-total": {"retryTotal", f.retryTotal}, "remark": {"remark", f.remark}, "callback-header-style": {"callbackHeaderStyle", f.headerStyle},
		"signature-mode": {"signatureMode", f.signatureMode}, "id": {"id", f.id},
	} {
		if changed(flag) {
			out[m.name] = m.value
		}
	}
	return out
}

func (p *program) createApp() *cobra.Command {
	var f appFlags
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make an app and show its signing secret, once", Args: arguments(1, 1, "a name"),
		Long: "Makes an app. Its signing secret is drawn, or with --secret-stdin read from standard input for an app that moves here. It is shown once.",
	}
	f.add(cmd.Flags())
	cmd.Flags().StringVar(&f.id, "id", "", "public id to keep, for an app that moves here (default: drawn)")
	cmd.Flags().BoolVar(&f.ownSecret, "secret-stdin", false, "read the signing secret to keep from standard input")
	cmd.RunE = p.connected(func(ctx context.Context, c *client, args []string) error {
		in := f.members(cmd.Flags().Changed)
		in["name"] = args[0]
		if err := f.limits.member(in, apiv1.Limits{}, cmd.Flags().Changed); err != nil {
			return err
		}
		if f.ownSecret {
			secret, err := p.readKey()
			if err != nil {
				return err
			}
			in["signingSecret"] = secret
		}
		body, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		return p.appAnswered(fetch[apiv1.App](ctx, c, post("/v1/apps", nil, body)))
	})
	return cmd
}

// appAnswered prints an app that was made or changed.
func (p *program) appAnswered(a apiv1.App, raw []byte, err error) error {
	if err != nil || p.json() {
		return p.rawUnless(err, raw)
	}
	return p.showApp(a)
}

func (p *program) updateApp() *cobra.Command {
	var f appFlags
	cmd := &cobra.Command{Use: "update APP", Short: "Change the settings that the flags name", Args: arguments(1, 1, "an app's public id")}
	f.add(cmd.Flags())
	cmd.Flags().StringVar(&f.name, "name", "", "another name")
	cmd.RunE = p.connected(func(ctx context.Context, c *client, args []string) error {
		in := f.members(cmd.Flags().Changed)
		if f.limits.any(cmd.Flags().Changed) {
			path, err := under("/v1/apps/")(args[0])
			if err != nil {
				return err
			}
			now, _, err := fetch[apiv1.App](ctx, c, get(path, nil))
			if err != nil {
				return err
			}
			if err := f.limits.member(in, now.Limits, cmd.Flags().Changed); err != nil {
				return err
			}
		}
		if len(in) == 0 {
			return usage(errors.New("nothing to change: name it by flags\n  see: taskweir apps update --help"))
		}
		return p.patchApp(ctx, c, args[0], in, func(a apiv1.App, raw []byte) error { return p.appAnswered(a, raw, nil) })
	})
	return cmd
}

// switchApp makes a command that sets one member of apps.
func (p *program) switchApp(use, short, member string, on bool, done string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: arguments(1, -1, "at least one app's public id"),
		RunE: p.connected(func(ctx context.Context, c *client, args []string) error {
			return forEach(args, func(app string) error {
				return p.patchApp(ctx, c, app, map[string]any{member: on}, func(_ apiv1.App, raw []byte) error {
					if p.json() {
						return p.printRaw(raw)
					}
					return p.outcome(app, done)
				})
			})
		}),
	}
}

func (p *program) patchApp(ctx context.Context, c *client, app string, in map[string]any, done func(apiv1.App, []byte) error) error {
	path, err := under("/v1/apps/")(app)
	if err != nil {
		return err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	a, raw, err := fetch[apiv1.App](ctx, c, request{method: http.MethodPatch, path: path, body: body})
	if err != nil {
		return err
	}
	return done(a, raw)
}

func (p *program) rotateSecret() *cobra.Command {
	var overlap time.Duration
	cmd := &cobra.Command{
		Use: "rotate-secret APP", Short: "Draw a new signing secret and show it, once", Args: arguments(1, 1, "an app's public id"),
		Long: "Draws a new signing secret. For the time of --overlap callbacks are signed with the old one too, so that receivers can change over.",
	}
	cmd.Flags().DurationVar(&overlap, "overlap", 0, "sign with the old one too for this time, like 24h")
	cmd.RunE = p.connected(func(ctx context.Context, c *client, args []string) error {
		path, err := under("/v1/apps/")(args[0])
		if err != nil {
			return err
		}
		q := url.Values{}
		if cmd.Flags().Changed("overlap") {
			q.Set("overlapMs", strconv.FormatInt(overlap.Milliseconds(), 10))
		}
		return p.appAnswered(fetch[apiv1.App](ctx, c, post(path+"/secret", q, nil)))
	})
	return cmd
}

// keys are the commands for an app's API keys.
func (p *program) keys() *cobra.Command {
	cmd := group("keys", "List, make and revoke an app's API keys", "An app may have several keys at once: make a new one, change over, revoke the old one.")
	page := pageFlags{}
	list := &cobra.Command{Use: "list APP", Short: "List an app's API keys", Args: arguments(1, 1, "an app's public id")}
	page.add(list.Flags(), 1000)
	list.RunE = p.connected(func(ctx context.Context, c *client, args []string) error {
		path, err := under("/v1/apps/")(args[0])
		if err != nil {
			return err
		}
		return printList(ctx, p, c, path+"/keys", nil, &page, "ID NAME SCOPE HINT STATE CREATED", p.keyRow)
	})
	revoke := &cobra.Command{Use: "revoke APP KEY...", Short: "Revoke API keys, by id; at once, 5 s later at the latest", Args: arguments(2, -1, "an app's public id and at least one key's id")}
	revoke.RunE = p.connected(func(ctx context.Context, c *client, args []string) error {
		path, err := under("/v1/apps/")(args[0])
		if err != nil {
			return err
		}
		return forEach(args[1:], func(id string) error {
			if _, err := apiv1.ParseID(id); err != nil {
				return usage(fmt.Errorf("%w: taskweir apps keys list %s shows the ids", err, args[0]))
			}
			if _, err := c.call(ctx, request{method: http.MethodDelete, path: path + "/keys/" + id}); err != nil {
				return err
			}
			if p.json() {
				return p.printJSON(map[string]string{"name": id, "state": "revoked"})
			}
			return p.outcome(id, "revoked")
		})
	})
	cmd.AddCommand(p.completing(completeApps, list), p.completing(completeApps, p.createKey()), revoke)
	return cmd
}

func (p *program) keyRow(k apiv1.Key) []string {
	state := "active"
	if k.RevokedAt != 0 {
		state = "revoked " + p.when(k.RevokedAt)
	}
	name := k.Name
	if k.Bootstrap {
		name = strings.TrimSpace(name + " (bootstrap)")
	}
	return []string{k.ID.String(), name, k.Scope, "…" + k.Hint, state, p.when(k.CreatedAt)}
}

func (p *program) createKey() *cobra.Command {
	var name, scope string
	cmd := &cobra.Command{
		Use: "create APP --scope SCOPE", Short: "Make an API key and show it, once", Args: arguments(1, 1, "an app's public id"),
		Long: "Makes an API key. Scopes hold those before them: read, submit, manage, admin. With -q only the key is printed, for a file.",
	}
	cmd.Flags().StringVar(&scope, "scope", "", "read, submit, manage or admin")
	cmd.Flags().StringVar(&name, "name", "", "what it is for")
	_ = cmd.RegisterFlagCompletionFunc("scope", cobra.FixedCompletions([]string{"read", "submit", "manage", "admin"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = p.connected(func(ctx context.Context, c *client, args []string) error {
		path, err := under("/v1/apps/")(args[0])
		if err != nil {
			return err
		}
		if scope == "" {
			return usage(errors.New("--scope is needed: read, submit, manage or admin"))
		}
		body, err := json.Marshal(apiv1.KeyCreate{Name: name, Scope: scope})
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		k, raw, err := fetch[apiv1.Key](ctx, c, post(path+"/keys", nil, body))
		switch {
		case err != nil || p.json():
			return p.rawUnless(err, raw)
		case p.quiet:
			return p.say(k.Key)
		}
		p.fields([][2]string{{"id", k.ID.String()}, {"name", k.Name}, {"scope", k.Scope}, {"key", k.Key}})
		p.note("keep the key now: it is not shown again")
		return nil
	})
	return cmd
}
