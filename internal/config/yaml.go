package config

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	maxFile  = 1 << 20 // bytes of a configuration file
	maxDepth = 4       // levels of a configuration file: more than any key has
)

// codec reads YAML for viper into flat keys. It keeps scalars as they are written, remembers lines, and refuses what no
// setting could mean: unknown keys, keys twice, anchors, several documents.
type codec struct {
	path string
	l    *layers
}

func (l *layers) codec(path string) codec { return codec{path: path, l: l} }

// Encode is not offered: configurations are written by people.
func (codec) Encode(map[string]any) ([]byte, error) {
	return nil, errors.New("a configuration is not written")
}

// Decode implements viper.Codec.
func (c codec) Decode(raw []byte, into map[string]any) error {
	dec := yaml.NewDecoder(strings.NewReader(string(raw)))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if len(strings.TrimSpace(string(raw))) == 0 || err.Error() == "EOF" {
			return nil // nothing but comments
		}
		return fmt.Errorf("%s: %s", c.path, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(new(yaml.Node)); err == nil {
		return fmt.Errorf("%s: has several documents", c.path)
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		return fmt.Errorf("%s:%d: must hold settings like \"log: {level: info}\"", c.path, root.Line)
	}
	c.mapping("", root, into, 0)
	return nil
}

// mapping puts every setting below a node into the flat map and notes every other key.
func (c codec) mapping(above string, n *yaml.Node, into map[string]any, depth int) {
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		key := above + name.Value
		source := fmt.Sprintf("%s:%d", c.path, name.Line)
		switch {
		case name.Kind != yaml.ScalarNode:
			c.l.problem.add(above+"?", source, "a key must be a name")
		case seen[name.Value]:
			c.l.problem.add(key, source, "stands twice")
		case value.Kind == yaml.AliasNode || value.Anchor != "":
			c.l.problem.add(key, source, "anchors and aliases are not supported")
		case strings.Contains(name.Value, ".") && c.isSetting(key):
			group, rest, _ := strings.Cut(key, ".")
			c.l.problem.add(key, source, "write it below its group: \""+group+": {"+rest+": ...}\"")
		case c.isSetting(key):
			c.setting(key, source, value, into)
		case value.Kind == yaml.MappingNode && c.isGroup(key+".") && depth < maxDepth:
			c.mapping(key+".", value, into, depth+1)
		case c.isGroup(key + "."):
			if value.Tag != "!!null" {
				c.l.problem.add(key, source, "must hold settings, one a line")
			}
		default:
			c.l.problem.add(key, source, "is no setting"+suggest(key, c.names()))
		}
		seen[name.Value] = true
	}
}

// setting stores one value as it is written. A key without a value counts as not set.
func (c codec) setting(key, source string, value *yaml.Node, into map[string]any) {
	o := origin{source: source}
	switch value.Kind {
	case yaml.ScalarNode:
		if value.Tag == "!!null" {
			return
		}
		o.text = value.Value
	case yaml.SequenceNode:
		if !c.l.known[key].List {
			c.l.problem.add(key, source, "must be one value, is a list")
			return
		}
		o.list = []string{}
		for _, item := range value.Content {
			if item.Kind != yaml.ScalarNode || strings.Contains(item.Value, ",") {
				c.l.problem.add(key, source, "must be a list of single values")
				return
			}
			o.list = append(o.list, item.Value)
		}
	default:
		c.l.problem.add(key, source, "must be one value")
		return
	}
	c.l.put(into, key, o)
}

func (c codec) isSetting(key string) bool {
	if _, ok := c.l.known[key]; ok {
		return true
	}
	base, ok := strings.CutSuffix(key, fileSuffix)
	return ok && c.l.known[base].Secret
}

func (c codec) isGroup(start string) bool {
	for key := range c.l.known {
		if strings.HasPrefix(key, start) {
			return true
		}
	}
	return false
}

// names gives every name a file may use, for suggestions.
func (c codec) names() map[string]string {
	names := make(map[string]string)
	for key, s := range c.l.known {
		names[key] = key
		if s.Secret {
			names[key+fileSuffix] = key
		}
	}
	return names
}
