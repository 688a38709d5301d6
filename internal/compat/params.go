package compat

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"slices"
	"strconv"
	"strings"

	"github.com/taskweir/taskweir/internal/httpkit"
)

// Limits of one request. Those of PHP are 1,000 variables, 64 levels in forms and 512 in JSON.
const (
	maxParams = 1_000
	maxNested = 32 // levels below a parameter, where names are joined
)

// ErrParams is what the decoders answer to something that PHP would read as nothing, or as something else than was meant.
var ErrParams = errors.New("parameters cannot be read")

// Param is one parameter.
type Param struct {
	Name  string
	Value Value
}

// Params are the parameters of a request in the order in which they were sent, each name once.
type Params []Param

// Get gives the value of a parameter; absent ones are null.
func (p Params) Get(name string) Value {
	for i := range p {
		if p[i].Name == name {
			return p[i].Value
		}
	}
	return Value{}
}

// Set gives a parameter a text, whatever it was.
func (p *Params) Set(name, text string) { p.put(name, Text(text)) }

// Without gives the parameters but one.
func (p Params) Without(name string) Params {
	i := slices.IndexFunc(p, func(x Param) bool { return x.Name == name })
	if i < 0 {
		return p
	}
	return slices.Concat(p[:i], p[i+1:])
}

// put sets a parameter: PHP keeps the place of the first and the value of the last of equal names.
func (p *Params) put(name string, v Value) {
	for i := range *p {
		if (*p)[i].Name == name {
			(*p)[i].Value = v
			return
		}
	}
	*p = append(*p, Param{name, v})
}

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// Decode reads the body of a POST: JSON, multipart or a form. A body that begins like a JSON object is read as one whatever its type says,
// except in a multipart: command line clients forget the type. An empty body has no parameters. The only error is ErrParams.
func Decode(contentType string, body []byte) (Params, error) {
	kind, attributes := contentType, map[string]string(nil)
	if kind != formType && kind != jsonType {
		kind, attributes, _ = mime.ParseMediaType(contentType)
	}
	switch trimmed := bytes.TrimLeft(body, " \t\r\n"); {
	case len(trimmed) == 0:
		return nil, nil
	case kind == "multipart/form-data":
		return parseMultipart(body, attributes["boundary"])
	case kind == jsonType, kind == "text/json", strings.HasSuffix(kind, "+json"), trimmed[0] == '{':
		return ParseJSON(body)
	}
	return ParseForm(string(body))
}

// ParseForm reads a form or a query string as PHP does: "a=1", "a[b]=1", "a[]=1". Malformed escapes stay as they are.
func ParseForm(text string) (Params, error) {
	var p Params
	n := 0
	for pair := range strings.SplitSeq(text, "&") {
		if pair == "" {
			continue
		}
		if n++; n > maxParams {
			return nil, ErrParams
		}
		name, value, _ := strings.Cut(pair, "=")
		if err := p.add(unescape(name), unescape(value)); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func parseMultipart(body []byte, boundary string) (Params, error) {
	if boundary == "" {
		return nil, ErrParams
	}
	var p Params
	r := multipart.NewReader(bytes.NewReader(body), boundary)
	for n := 0; ; n++ {
		part, err := r.NextRawPart()
		if err == io.EOF {
			return p, nil
		}
		if err != nil || n == maxParams {
			return nil, ErrParams
		}
		if part.FormName() == "" || part.FileName() != "" {
			continue // files are no parameters
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, ErrParams
		}
		if err := p.add(part.FormName(), string(value)); err != nil {
			return nil, err
		}
	}
}

// add sets a parameter of a form under its name as PHP reads it.
func (p *Params) add(name, value string) error {
	base, path, err := splitName(name)
	if err != nil || base == "" {
		return err
	}
	if len(path) == 0 {
		p.put(base, Text(value))
		return nil
	}
	at := p
	for _, key := range append([]string{base}, path[:len(path)-1]...) {
		at = at.below(key)
	}
	if key := path[len(path)-1]; key == "" {
		at.put(at.next(), Text(value))
	} else {
		at.put(key, Text(value))
	}
	return nil
}

// below gives the parameters nested under a name, "" being the next number; what else had the name is dropped.
func (p *Params) below(name string) *Params {
	if name == "" {
		name = p.next()
	}
	for i := range *p {
		if x := &(*p)[i]; x.Name == name {
			if x.Value.kind != nestedForm {
				x.Value = Value{kind: nestedForm}
			}
			return &x.Value.sub
		}
	}
	*p = append(*p, Param{name, Value{kind: nestedForm}})
	return &(*p)[len(*p)-1].Value.sub
}

// next is the number that "[]" stands for.
func (p *Params) next() string {
	next := 0
	for i := range *p {
		if n := index((*p)[i].Name); n >= next && n < maxParams {
			next = n + 1
		}
	}
	return strconv.Itoa(next)
}

// index is the number that a name is, written as PHP writes numbers; -1 for other names and numbers of more than four digits.
func index(name string) (n int) {
	if len(name) < 1 || len(name) > 4 || name[0] == '0' && len(name) > 1 {
		return -1
	}
	for i := range len(name) {
		if name[i] < '0' || name[i] > '9' {
			return -1
		}
		n = 10*n + int(name[i]-'0')
	}
	return n
}

// splitName takes "a[b][]" apart. Spaces and dots of the first name become underscores, as does a bracket that nothing closes.
func splitName(name string) (base string, path []string, err error) {
	name = strings.TrimLeft(name, " ")
	base, rest, nested := strings.Cut(name, "[")
	if !nested || base == "" || !strings.Contains(rest, "]") {
		return underscores(name, " .["), nil, nil
	}
	for nested {
		key, after, closed := strings.Cut(rest, "]")
		if !closed {
			break
		}
		if path = append(path, key); len(path) > maxNested {
			return "", nil, ErrParams
		}
		rest, nested = strings.CutPrefix(after, "[")
	}
	return underscores(base, " ."), path, nil
}

// underscores puts underscores for some characters.
func underscores(name, of string) string {
	if !strings.ContainsAny(name, of) {
		return name
	}
	out := []byte(name)
	for i, c := range out {
		if strings.IndexByte(of, c) >= 0 {
			out[i] = '_'
		}
	}
	return string(out)
}

// unescape decodes a name or value of a form.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			out = append(out, ' ')
		case s[i] == '%' && i+2 < len(s) && hex(s[i+1]) >= 0 && hex(s[i+2]) >= 0:
			out = append(out, byte(hex(s[i+1])<<4|hex(s[i+2])))
			i += 2
		default:
			out = append(out, s[i])
		}
	}
	return string(out)
}

func hex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// ParseJSON reads a JSON object. Every other value but an empty array, which is PHP's way to write an empty object, and an object that
// names a member twice, is ErrParams.
func ParseJSON(body []byte) (Params, error) {
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' && string(bytes.Join(bytes.Fields(body), nil)) == "[]" {
		return nil, nil
	}
	var p Params
	s := httpkit.NewScanner(body)
	object := s.Object(func(key []byte) {
		if raw := s.Raw(); raw != nil && len(p) <= maxParams {
			p.put(string(key), jsonValue(raw))
		}
	})
	if s.End() != nil || !object || len(s.Broken()) > 0 || len(p) > maxParams {
		return nil, ErrParams
	}
	return p, nil
}
