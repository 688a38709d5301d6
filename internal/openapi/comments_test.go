package openapi

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

var update = flag.Bool("update", false, "write comments.go anew")

// comments.go holds what the wire types' source says, which the program itself does not know.
func TestCommentsAreThoseOfTheSource(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("package openapi\n\n// comments are the comments of the wire types, by type and by type.Field. Made by go test ./internal/openapi -run Comments -update.\n" +
		"var comments = map[string]string{\n")
	found := sourceComments(t)
	for _, k := range slices.Sorted(maps.Keys(found)) {
		fmt.Fprintf(&b, "%q: %s,\n", k, strconv.Quote(found[k]))
	}
	b.WriteString("}\n")
	want, err := format.Source(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("comments.go", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile("comments.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Error("comments.go is not what pkg/apiv1 says: run go test ./internal/openapi -run Comments -update")
	}
}

func sourceComments(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../pkg/apiv1/*.go")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	out := map[string]string{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			d, ok := n.(*ast.GenDecl)
			if !ok || d.Tok != token.TYPE {
				return !ok
			}
			for _, spec := range d.Specs {
				typ := spec.(*ast.TypeSpec)
				s, ok := typ.Type.(*ast.StructType)
				if !ok {
					continue
				}
				doc := typ.Doc
				if doc == nil {
					doc = d.Doc
				}
				wire := wireNames(s)
				note(out, typ.Name.Name, sentence(doc.Text(), typ.Name.Name, wire))
				for _, field := range s.Fields.List {
					for _, id := range field.Names {
						text := field.Comment.Text()
						if text == "" || strings.HasPrefix(field.Doc.Text(), id.Name+" ") {
							text = field.Doc.Text()
						}
						note(out, typ.Name.Name+"."+id.Name, sentence(text, id.Name, wire))
					}
				}
			}
			return false
		})
	}
	return out
}

func wireNames(s *ast.StructType) map[string]string {
	out := map[string]string{}
	for _, field := range s.Fields.List {
		for _, id := range field.Names {
			if field.Tag != nil {
				name, _, _ := strings.Cut(reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json"), ",")
				out[id.Name] = name
			}
		}
	}
	return out
}

func note(out map[string]string, key, text string) {
	if text != "" {
		out[key] = text
	}
}

// sentence makes a comment a text for readers who do not see Go: on one line, without the name that it begins with, and with
// the other members called as they are on the wire.
func sentence(text, name string, wire map[string]string) string {
	text = strings.Join(strings.Fields(text), " ")
	if rest, ok := strings.CutPrefix(text, name+" "); ok {
		rest = strings.TrimPrefix(strings.TrimPrefix(rest, "is "), "are ")
		text = strings.ToUpper(rest[:1]) + rest[1:]
	}
	for goName, jsonName := range wire {
		if goName != "" && strings.ContainsFunc(goName[1:], unicode.IsUpper) {
			text = regexp.MustCompile(`\b`+goName+`\b`).ReplaceAllString(text, jsonName)
		}
	}
	return text
}
