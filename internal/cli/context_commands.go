package cli

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/taskweir/taskweir/internal/config"
)

// context are the commands for named servers.
func (p *program) context() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the contexts", Args: arguments(0, 0, ""), RunE: p.withContexts(p.listContexts)}
	cmd := group("context", "Keep servers and API keys under names", `A context is a server's address and the API key for it, under a name. It is used by --context NAME, by TASKWEIR_CONTEXT, or by every
command once "context use" chose it. --url, TASKWEIR_URL and TASKWEIR_API_KEY go before the chosen one.

  taskweir context set production --url https://taskweir.example.org < api.key
  taskweir context use production

They are kept in taskweir/contexts.json in your folder for configuration ($XDG_CONFIG_HOME, ~/.config), readable by you only.`)
	cmd.RunE = listWithoutArguments(list)
	use := &cobra.Command{Use: "use NAME", Short: "Use a context from now on; - for none", Args: arguments(1, 1, "a name, or - for none"), RunE: p.withContexts(p.useContext)}
	del := &cobra.Command{Use: "delete NAME...", Short: "Forget contexts and their keys", Args: arguments(1, -1, "at least one name"), RunE: p.withContexts(p.deleteContexts)}
	use.ValidArgsFunction, del.ValidArgsFunction = p.completeContexts, p.completeContexts
	cmd.AddCommand(list, p.setContext(), use, del)
	return cmd
}

func (p *program) withContexts(run func(c *contexts, args []string) error) func(*cobra.Command, []string) error {
	return func(_ *cobra.Command, args []string) error {
		c, err := readContexts(p.Environ)
		if err != nil {
			return usage(err)
		}
		return run(c, args)
	}
}

// shownContext is a context without its key.
type shownContext struct {
	Name    string `json:"name"`
	Current bool   `json:"current"`
	URL     string `json:"url"`
	App     string `json:"app,omitempty"`
	Key     string `json:"key"` // where it is: stored, the file, none
}

func (p *program) listContexts(c *contexts, _ []string) error {
	rows, shown := [][]string{}, []shownContext{}
	for _, name := range c.names() {
		n := c.Contexts[name]
		s := shownContext{Name: name, Current: name == c.Current, URL: n.URL, App: n.App, Key: "none"}
		switch {
		case n.APIKeyFile != "":
			s.Key = n.APIKeyFile
		case n.APIKey != "":
			s.Key = "stored"
		}
		mark := ""
		if s.Current {
			mark = "*"
		}
		shown = append(shown, s)
		rows = append(rows, []string{name, mark, s.URL, s.App, s.Key})
	}
	if p.json() {
		return p.printJSON(map[string]any{"items": shown})
	}
	return p.table("NAME USED URL APP KEY", rows)
}

func (p *program) setContext() *cobra.Command {
	var address, keyFile, app string
	var noKey bool
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Make or change a context", Args: arguments(1, 1, "a name"),
		Long: `Makes or changes a context. The API key is read from standard input, without echo on a terminal, or from --key-file each time it is
needed; it is never an argument, which every user of the machine could read.`,
		Example: `  taskweir context set local --url http://127.0.0.1:8080 --key-file .taskweir/bootstrap.key
  taskweir context set production --url https://taskweir.example.org < api.key`,
	}
	f := cmd.Flags()
	f.StringVar(&address, "url", "", "base address of the API")
	f.StringVar(&keyFile, "key-file", "", "file that holds the API key")
	f.BoolVar(&noKey, "keep-key", false, "change address or app and keep the key that is stored")
	f.StringVar(&app, "app", "", "act on this app, as --app does (admin keys only)")
	cmd.RunE = p.withContexts(func(c *contexts, args []string) error {
		if !contextName.MatchString(args[0]) {
			return usage(fmt.Errorf("%q is no name: 1–64 letters, digits, dots, dashes and underscores", args[0]))
		}
		n := c.Contexts[args[0]]
		if err := p.fillContext(&n, address, keyFile, app, noKey, cmd.Flags().Changed); err != nil {
			return err
		}
		c.Contexts[args[0]] = n
		if err := c.write(); err != nil {
			return err
		}
		if c.Current != args[0] {
			p.note("use it with --context %s, or always: taskweir context use %s", args[0], args[0])
		}
		return p.outcome(args[0], "is "+n.URL)
	})
	return cmd
}

func (p *program) fillContext(n *namedContext, address, keyFile, app string, keepKey bool, changed func(string) bool) error {
	if changed("url") {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
			return usage(fmt.Errorf("--url: must be http or https with a host, without name and password"))
		}
		moved := n.URL != "" && n.URL != strings.TrimRight(address, "/")
		if moved && keepKey {
			return usage(errors.New("--keep-key: the key belongs to " + n.URL + " and goes to no other address; give the new one"))
		}
		n.URL = strings.TrimRight(address, "/")
	}
	if n.URL == "" {
		return usage(errors.New("a context needs --url"))
	}
	if changed("app") {
		n.App = app
	}
	switch {
	case keepKey:
	case changed("key-file"):
		path, err := filepath.Abs(keyFile)
		if err != nil {
			return err
		}
		n.APIKey, n.APIKeyFile = "", path
		if _, err := n.key(); err != nil {
			return usage(fmt.Errorf("--key-file: %w", err))
		}
	default:
		key, err := p.readKey()
		if err != nil {
			return err
		}
		n.APIKey, n.APIKeyFile = key, ""
	}
	return nil
}

// readKey reads an API key from standard input, without echo when that is a terminal.
func (p *program) readKey() (string, error) {
	var raw []byte
	var err error
	if fd, ok := isTerminal(p.In); ok {
		_, _ = fmt.Fprint(p.Err, "API key: ")
		raw, err = term.ReadPassword(fd)
		_, _ = fmt.Fprintln(p.Err)
	} else {
		raw, err = io.ReadAll(io.LimitReader(p.In, 4096))
	}
	if err != nil {
		return "", fmt.Errorf("read the API key: %w", err)
	}
	key := strings.TrimSpace(string(raw))
	if len(key) < 16 || len(key) > 128 || clean(key) != key {
		return "", usage(errors.New("an API key has 16 to 128 printable characters: give it on standard input, or name its file by --key-file"))
	}
	return key, nil
}

func (p *program) useContext(c *contexts, args []string) error {
	name := args[0]
	if name == "-" {
		name = ""
	} else if _, err := c.find(name); err != nil {
		return err
	}
	c.Current = name
	if err := c.write(); err != nil {
		return err
	}
	if name == "" {
		return p.say("no context is in use")
	}
	return p.outcome(name, "is in use")
}

func (p *program) deleteContexts(c *contexts, args []string) error {
	for _, name := range args {
		if _, err := c.find(name); err != nil {
			return err
		}
		delete(c.Contexts, name)
		if c.Current == name {
			c.Current = ""
		}
	}
	if err := c.write(); err != nil {
		return err
	}
	for _, name := range args {
		if err := p.outcome(name, "deleted"); err != nil {
			return err
		}
	}
	return nil
}

// loadCLI reads the settings of a command that talks to the API, contexts included.
func (p *program) loadCLI(cmd *cobra.Command) (*config.Config, string, error) {
	cfg, err := config.LoadFlags(config.CLI, cmd.Flags(), p.Environ)
	if err != nil {
		return nil, "", err
	}
	app, err := p.settings(cfg)
	if f := cmd.Flags().Lookup("app"); f != nil && f.Changed {
		app = f.Value.String()
	} else if f == nil {
		app = ""
	}
	return cfg, app, err
}
