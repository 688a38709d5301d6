package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

const (
	configFlag = "config"
	configEnv  = prefix + "CONFIG"

	// DatabaseFile is the SQLite file in the data folder.
	DatabaseFile = "taskweir.db"
	// DefaultURL is where the command line looks for an API when it was told nothing and finds no standalone.
	DefaultURL = "http://127.0.0.1:8080"
)

// AddFlags declares the flags of a role's settings and --config.
func AddFlags(fs *pflag.FlagSet, role Role) {
	fs.String(configFlag, "", "read settings from this YAML file ("+configEnv+")")
	for _, s := range Settings() {
		if !s.Roles.Has(role) {
			continue
		}
		if !s.NoFlag {
			v := &flagValue{kind: s.Type}
			f := fs.VarPF(v, s.Flag(), "", s.usage(role))
			if s.Type == "true or false" {
				f.NoOptDefVal, v.kind = "true", "bool"
			}
		}
		if s.Secret {
			fs.Var(&flagValue{kind: "file"}, s.Flag()+"-file", "read "+s.Key+" from this file ("+s.Env()+"_FILE)")
		}
	}
}

// usage is a flag's line in --help.
func (s Setting) usage(role Role) string {
	text := strings.TrimSuffix(strings.ReplaceAll(s.Doc, "`", "'"), ".") + " (" + s.Env()
	if d := s.DefaultFor(role); d != "" {
		text += ", default " + d
	}
	return text + ")"
}

// flagValue is a flag whose text is checked with all other settings, not while flags are parsed.
type flagValue struct{ text, kind string }

// String gives the text as it was set.
func (f *flagValue) String() string { return f.text }

// Set keeps the text.
func (f *flagValue) Set(text string) error { f.text = text; return nil }

// Type is what help shows.
func (f *flagValue) Type() string { return f.kind }

// ErrHelp is the answer to --help. The error that wraps it has the text to print.
var ErrHelp = errors.New("help was asked for")

// help is ErrHelp with the flags of a role.
type help struct{ role Role }

// Error gives the text to print.
func (h help) Error() string { return "Settings of " + h.role.String() + ":\n\n" + Usage(h.role) }

// Is makes it ErrHelp.
func (h help) Is(target error) bool { return target == ErrHelp }

// Load is LoadFlags with the flags of the role read from a command line. Arguments that are no flags are refused; --help gives
// ErrHelp.
func Load(role Role, args, environ []string) (*Config, error) {
	fs := newFlags(role)
	err := fs.Parse(args)
	if errors.Is(err, pflag.ErrHelp) {
		return nil, help{role}
	}
	if err != nil {
		return nil, fmt.Errorf("%w; --help lists the settings", err)
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("argument %q is not understood: settings are given as --name=value", fs.Arg(0))
	}
	return LoadFlags(role, fs, environ)
}

// Usage lists the flags of a role.
func Usage(role Role) string { return newFlags(role).FlagUsages() }

func newFlags(role Role) *pflag.FlagSet {
	fs := pflag.NewFlagSet(role.String(), pflag.ContinueOnError)
	fs.Usage = func() {}
	fs.SortFlags = false
	AddFlags(fs, role)
	return fs
}

// LoadFlags reads the settings of one role: flags over environment (os.Environ's form) over the file named by --config or
// TASKWEIR_CONFIG over defaults. flags may be nil; of its flags only those made by AddFlags are looked at. A broken rule gives
// an *Error that names all of them.
func LoadFlags(role Role, flags *pflag.FlagSet, environ []string) (*Config, error) {
	l := newLayers(role)
	l.read(role, flags, environ)
	c := &Config{Role: role, origins: make(map[string]origin)}
	missing := make(map[string]bool)
	for _, s := range Settings() {
		if s.Roles.Has(role) {
			missing[s.Key] = !l.apply(c, s)
		}
	}
	l.across(c, missing)
	if err := l.problem.orNil(); err != nil {
		return nil, err
	}
	c.derive()
	return c, nil
}

// apply parses one setting into the Config and reports whether it has a value.
func (l *layers) apply(c *Config, s Setting) bool {
	o, err := l.value(s)
	c.origins[s.Key] = o.public(s)
	if err != nil {
		l.problem.add(s.Key, o.source, err.Error())
		return true
	}
	if o.text == "" && (o.source == fromDefault || !s.List && s.DefaultFor(c.Role) == "") {
		if s.Required.Has(c.Role) && !l.partial {
			l.problem.add(s.Key, "", s.required())
		}
		return false
	}
	if err := s.set(c, o.text); err != nil {
		l.problem.add(s.Key, o.source, err.Error())
	}
	return true
}

// required says how a missing setting is given.
func (s Setting) required() string {
	ways := []string{s.Env()}
	if s.Secret {
		ways = append(ways, s.Env()+"_FILE")
	}
	if !s.NoFlag {
		ways = append(ways, "--"+s.Flag())
	}
	text := "is required; set " + strings.Join(ways, ", ") + " or " + s.Key + " in the file"
	if s.Hint != "" {
		text += " (" + s.Hint + ")"
	}
	return text
}

// across checks the rules that take more than one setting.
func (l *layers) across(c *Config, missing map[string]bool) {
	if c.Role == Worker && !l.partial && missing["nsq.nsqd"] && missing["nsq.lookupd"] {
		s := l.known["nsq.nsqd"]
		l.problem.add("nsq.nsqd", "", s.required()+", or give nsq.lookupd")
	}
	for _, name := range c.Legacy.Root {
		if !slices.Contains(c.Surfaces, name) {
			l.problem.add("legacy.root", c.origins["legacy.root"].source, quote(name)+" is not among surfaces")
		}
	}
	if (c.NSQ.TLSCert == "") != (c.NSQ.TLSKey == "") {
		l.problem.add("nsq.tls_cert", "", "and nsq.tls_key go together: one of them is missing")
	}
	for key, path := range map[string]string{"nsq.tls_ca": c.NSQ.TLSCA, "nsq.tls_cert": c.NSQ.TLSCert} {
		if path != "" && !c.NSQ.TLS {
			l.problem.add(key, c.origins[key].source, "is used only with nsq.tls: true")
		}
	}
	if b, d := c.Liveness.Beat, c.Liveness.DeadAfter; b > 0 && d > 0 && d < 4*b {
		l.problem.add("liveness.dead_after", c.origins["liveness.dead_after"].source, fmt.Sprintf("must be at least 4 × liveness.beat (%s), is %s", b, d))
	}
}

// derive fills what follows from other settings.
func (c *Config) derive() {
	if !c.Database.URL.IsSet() && c.Role.Has(Standalone|Operator) {
		c.Database.URL = SecretURL("sqlite://" + filepath.Join(c.DataDir, DatabaseFile))
	}
	if c.Role == CLI {
		c.findStandalone()
	}
}
