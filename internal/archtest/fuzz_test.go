package archtest

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// decoder recognises, by its name, a function that makes something of bytes or text which somebody else wrote.
var decoder = regexp.MustCompile(`(?i)^(decode|parse|verif(y|ied)|unmarshal)`)

// node is a function, or a variable or constant of a package, with what it mentions.
type node struct {
	dir, name string
	method    bool
	pos       string
	mentions  []string // "dir name", of this package or of another
}

// graph holds who mentions whom, by names alone: no types are known. A method is mentioned by everybody of its own package who
// names it. That reaches a little more than what is really called, never less, but for methods of other packages.
type graph map[string][]*node

func newGraph(all []source) graph {
	g := graph{}
	for _, s := range all {
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				g.add(s, d.Name, d.Recv != nil, d)
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok {
						for _, name := range v.Names {
							g.add(s, name, false, v)
						}
					}
				}
			}
		}
	}
	return g
}

func (g graph) add(s source, name *ast.Ident, method bool, body ast.Node) {
	n := &node{dir: s.dir, name: name.Name, method: method, pos: s.path}
	local := map[string]string{}
	for key, p := range s.imports {
		if dir, ours := strings.CutPrefix(p, module); ours {
			alias, _, _ := strings.Cut(key, " ")
			local[alias] = dir
		}
	}
	ast.Inspect(body, func(x ast.Node) bool {
		switch x := x.(type) {
		case *ast.SelectorExpr:
			if of, ok := x.X.(*ast.Ident); ok && local[of.Name] != "" {
				n.mentions = append(n.mentions, local[of.Name]+" "+x.Sel.Name)
				return false
			}
			if of, ok := x.X.(*ast.Ident); ok && of.Name == "json" && matches("Unmarshal NewDecoder", x.Sel.Name) {
				n.mentions = append(n.mentions, s.dir+" UnmarshalJSON")
			}
		case *ast.Ident:
			n.mentions = append(n.mentions, s.dir+" "+x.Name)
		}
		return true
	})
	key := s.dir + " " + name.Name
	g[key] = append(g[key], n)
}

// reach gives everything that fuzz targets get at: what they mention, through helpers of tests however far, and through at most
// so many functions of the product. Further than that lies nearly everything: a target that starts a server sends its inputs to
// one of its many routes.
func (g graph) reach(most int) map[string]bool {
	near := map[string]int{} // the least number of the product's functions on the way
	var visit func(key string, far int)
	visit = func(key string, far int) {
		for _, n := range g[key] {
			if !strings.HasSuffix(n.pos, "_test.go") {
				far++
				break
			}
		}
		if was, ok := near[key]; ok && was <= far || far > most {
			return
		}
		near[key] = far
		for _, n := range g[key] {
			for _, m := range n.mentions {
				visit(m, far)
			}
		}
	}
	for key, nodes := range g {
		for _, n := range nodes {
			if strings.HasPrefix(n.name, "Fuzz") && !n.method && strings.HasSuffix(n.pos, "_test.go") {
				visit(key, 0)
			}
		}
	}
	seen := map[string]bool{}
	for key := range near {
		seen[key] = true
	}
	return seen
}

// unfuzzed are the decoders of the product that no target reaches.
func (g graph) unfuzzed() (out []string) {
	reached := g.reach(3)
	for key, nodes := range g {
		for _, n := range nodes {
			if decoder.MatchString(n.name) && !strings.HasSuffix(n.pos, "_test.go") && !strings.HasPrefix(n.dir, "internal/testkit") && !reached[key] {
				out = append(out, n.pos+" "+n.name)
			}
		}
	}
	slices.Sort(out)
	return out
}

// Bytes that come from elsewhere meet their decoder in a fuzz target first.
func TestEveryDecoderHasAFuzzTarget(t *testing.T) {
	g := newGraph(sources(t))
	excused := map[string]bool{}
	for _, name := range g.unfuzzed() {
		if noFuzz[name] != "" {
			excused[name] = true
			continue
		}
		t.Errorf("%s is reached by no fuzz target: write one, with a property of what it decodes", name)
	}
	for name := range noFuzz {
		if !excused[name] {
			t.Errorf("%s is excused from fuzzing, but does not exist or is fuzzed", name)
		}
	}
}
