package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// maxSecretFile bounds a file that holds one secret.
const maxSecretFile = 4096

// fileSuffix ends the name under which a secret's file is given: encryption_key_file, TASKWEIR_ENCRYPTION_KEY_FILE.
const fileSuffix = "_file"

// fromDefault is the source of a value that nobody set.
const fromDefault = "default"

// origin is a value's text with the place it came from. viper keeps these in its layers, so that the value that wins knows
// where it came from.
type origin struct {
	text   string
	source string // "flag --http-addr", "environment TASKWEIR_HTTP_ADDR", "/etc/taskweir.yaml:3", "default"
	path   bool   // text is the path of a file that holds the value
	list   []string
}

// public is the origin without a secret's text: a Config may be printed whole.
func (o origin) public(s Setting) origin {
	if s.Secret && o.text != "" {
		o.text = redacted
	}
	o.list = nil
	return o
}

// layers is one reading of every source. Keys are flat: viper's own nesting is switched off by a delimiter that no key has.
type layers struct {
	v       *viper.Viper
	known   map[string]Setting
	partial bool // the file could not be read: what is missing may stand there
	problem *Error
}

func newLayers(role Role) *layers {
	known := make(map[string]Setting)
	for _, s := range Settings() {
		known[s.Key] = s
	}
	return &layers{known: known, problem: &Error{Role: role}}
}

// read fills the layers, lowest first: a later one hides an earlier one.
func (l *layers) read(role Role, flags *pflag.FlagSet, environ []string) {
	env, configEnv := l.environment(environ)
	file := configEnv
	if flags != nil {
		if f := flags.Lookup(configFlag); f != nil && f.Changed {
			file = origin{text: f.Value.String(), source: "flag --" + configFlag}
		}
	}
	codecs := viper.NewCodecRegistry()
	_ = codecs.RegisterCodec("yaml", l.codec(file.text)) // fails only for an empty format
	l.v = viper.NewWithOptions(viper.KeyDelimiter("\x00"), viper.WithCodecRegistry(codecs))
	l.v.SetConfigType("yaml")
	for _, s := range l.known {
		if s.Roles.Has(role) {
			l.v.SetDefault(s.Key, origin{text: s.DefaultFor(role), source: fromDefault})
		}
	}
	l.readFile(file)
	_ = l.v.MergeConfigMap(env) // never fails
	for key, o := range l.flags(flags) {
		l.v.Set(key, o)
	}
}

// readFile reads the YAML file, if one is named.
func (l *layers) readFile(file origin) {
	if file.text == "" {
		return
	}
	raw, err := readBounded(file.text, maxFile)
	if err == nil {
		err = l.v.ReadConfig(bytes.NewReader(raw))
	}
	var parse viper.ConfigParseError
	if errors.As(err, &parse) {
		err = parse.Unwrap()
	}
	if err != nil {
		l.partial = true
		l.problem.add("config", file.source, err.Error())
	}
}

// environment reads TASKWEIR_* names. An empty value counts as not set.
func (l *layers) environment(environ []string) (found map[string]any, file origin) {
	names := make(map[string]string, 2*len(l.known))
	for key, s := range l.known {
		names[s.Env()] = key
		if s.Secret {
			names[s.Env()+strings.ToUpper(fileSuffix)] = key + fileSuffix
		}
	}
	found = make(map[string]any)
	for _, kv := range environ {
		name, text, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, prefix) || foreign(name) {
			continue
		}
		source := "environment " + name
		key, ok := names[name]
		switch {
		case name == configEnv:
			if text != "" {
				file = origin{text: text, source: source}
			}
		case !ok:
			l.problem.add(name, "environment", "is no setting"+suggest(name, names))
		case text != "":
			l.put(found, key, origin{text: text, source: source})
		}
	}
	return found, file
}

// put stores a value of one source under its setting, or notes that it was given twice, as itself and as a file.
func (l *layers) put(found map[string]any, name string, o origin) {
	key := name
	if base, ok := strings.CutSuffix(name, fileSuffix); ok && l.known[base].Secret {
		key, o.path = base, true
	}
	if before, ok := found[key].(origin); ok && before.path != o.path {
		l.problem.add(key, o.source+" and "+before.source, "is given twice, as a value and as a file: keep one")
	}
	found[key] = o
}

// flags gives the flags that were set.
func (l *layers) flags(fs *pflag.FlagSet) map[string]any {
	found := make(map[string]any)
	if fs == nil {
		return found
	}
	for _, s := range Settings() {
		names := map[string]string{s.Flag(): s.Key, s.Flag() + "-file": s.Key + fileSuffix}
		for flag, name := range names {
			if f := fs.Lookup(flag); f != nil && f.Changed {
				l.put(found, name, origin{text: f.Value.String(), source: "flag --" + flag})
			}
		}
	}
	return found
}

// value gives the winning value of a setting, with a secret's file read.
func (l *layers) value(s Setting) (origin, error) {
	o, _ := l.v.Get(s.Key).(origin)
	if o.list != nil {
		o.text = strings.Join(o.list, ",")
	}
	if !o.path {
		return o, nil
	}
	raw, err := readBounded(o.text, maxSecretFile)
	if err != nil {
		return o, err
	}
	o.source += " = " + o.text
	if o.text = strings.TrimRight(string(raw), "\r\n"); o.text == "" {
		return o, errors.New("the file is empty")
	}
	return o, nil
}

// readBounded reads a file of at most most bytes.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) > most {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return raw, nil
}

// foreign reports names that are not ours although they begin like ours: those reserved for tests, and those that Kubernetes
// makes for a service whose name begins with taskweir.
func foreign(name string) bool {
	if strings.HasPrefix(name, prefix+"TEST_") {
		return true
	}
	return kubernetesName.MatchString(name)
}

// suggest names the known name that is nearest to an unknown one, if any is near.
func suggest(name string, names map[string]string) string {
	const longest = 64 // no name is; comparing a long text would only cost time
	if len(name) > longest {
		return ""
	}
	best, distance := "", 4
	for _, known := range slices.Sorted(maps.Keys(names)) {
		if d := editDistance(name, known); d < distance {
			best, distance = known, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}
