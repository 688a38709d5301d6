package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/taskweir/taskweir/internal/config"
)

// contexts is the file of named servers. It holds keys, so that it is readable by its owner only, and refused when it is not.
type contexts struct {
	path     string
	Current  string                  `json:"current,omitempty"` // the one in use without --context; "": none
	Contexts map[string]namedContext `json:"contexts"`
}

// namedContext is one server, and the key for it.
type namedContext struct {
	URL    string `json:"url"`
	APIKey string `json:"apiKey,omitempty"`
	// APIKeyFile holds the key instead: an absolute path.
	APIKeyFile string `json:"apiKeyFile,omitempty"`
	App        string `json:"app,omitempty"` // as --app, unless that is given
}

const maxContextsFile = 1 << 20

var contextName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// contextsPath is where the file is: in the user's folder for configuration.
func contextsPath(environ []string) (string, error) {
	dir := variable(environ, "XDG_CONFIG_HOME")
	if dir == "" && runtime.GOOS == "windows" {
		dir = variable(environ, "AppData")
	}
	if home := variable(environ, "HOME"); dir == "" && home != "" {
		dir = filepath.Join(home, ".config")
	}
	if !filepath.IsAbs(dir) {
		return "", errors.New("no folder for contexts: set HOME or XDG_CONFIG_HOME")
	}
	return filepath.Join(dir, "taskweir", "contexts.json"), nil
}

// readContexts reads the file; without one there are none.
func readContexts(environ []string) (*contexts, error) {
	path, err := contextsPath(environ)
	if err != nil {
		return nil, err
	}
	c := &contexts{path: path, Contexts: map[string]namedContext{}}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s holds API keys and others may read it (mode %04o)\n  mend it with: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxContextsFile))
	if err != nil {
		return nil, err
	}
	if err := c.decode(raw); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// decode reads the file's text. What it does not know is an error: a mistyped member must not send a key elsewhere.
func (c *contexts) decode(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(c); err != nil {
		return err
	}
	if c.Contexts == nil {
		c.Contexts = map[string]namedContext{}
	}
	for name := range c.Contexts {
		if !contextName.MatchString(name) {
			return fmt.Errorf("%q is no name of a context", name)
		}
	}
	return nil
}

// write replaces the file, whole or not at all.
func (c *contexts) write() error {
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("encode contexts: %w", err)
	}
	dir := filepath.Dir(c.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".contexts-*") // made with mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	if serr := f.Sync(); err == nil {
		err = serr
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), c.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

func (c *contexts) names() []string { return slices.Sorted(maps.Keys(c.Contexts)) }

// find gives a context by name, or says which there are.
func (c *contexts) find(name string) (namedContext, error) {
	n, ok := c.Contexts[name]
	if ok {
		return n, nil
	}
	text := fmt.Sprintf("there is no context %q", name)
	if names := c.names(); len(names) > 0 {
		text += ": there are " + strings.Join(names, ", ")
	} else {
		text += "\n  make it with: taskweir context set " + name + " --url URL"
	}
	return n, &exitError{code: ExitNotFound, err: errors.New(text)}
}

// key gives the context's API key.
func (n namedContext) key() (config.Secret, error) {
	if n.APIKeyFile == "" {
		return config.Secret(n.APIKey), nil
	}
	raw, err := readFile(n.APIKeyFile)
	if err != nil {
		return "", err
	}
	return config.Secret(strings.TrimSpace(string(raw))), nil
}

// settings reads the settings of a command that talks to the API. A context gives address and key together: a key goes to no
// server but its own, so that one that is named beside --url is refused, and the one in use gives way to any address or key that
// a flag, the environment or the file names.
func (p *program) settings(cfg *config.Config) (app string, err error) {
	own := cfg.IsSet("url") || cfg.IsSet("api_key")
	if cfg.Context == "" && own {
		return "", nil
	}
	if cfg.Context != "" && own {
		return "", usage(fmt.Errorf("context %q names address and key, and so does %s: keep one", cfg.Context, cfg.Source(firstSet(cfg, "url", "api_key"))))
	}
	if _, err := contextsPath(p.Environ); err != nil && cfg.Context == "" {
		return "", nil // a process without a home has no contexts
	}
	all, err := readContexts(p.Environ)
	if err != nil {
		return "", usage(err)
	}
	name := cfg.Context
	if name == "" {
		name = all.Current
	}
	if name == "" {
		return "", nil
	}
	n, err := all.find(name)
	if err != nil {
		return "", err
	}
	key, err := n.key()
	if err != nil {
		return "", usage(fmt.Errorf("key of context %q: %w", name, err))
	}
	cfg.URL, cfg.APIKey = n.URL, key
	return n.App, nil
}

func firstSet(cfg *config.Config, keys ...string) string {
	for _, k := range keys {
		if cfg.IsSet(k) {
			return k
		}
	}
	return ""
}
