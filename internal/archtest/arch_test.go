package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/taskweir/taskweir/"

// source is one parsed file.
type source struct {
	path    string // from the root of the repository, with slashes
	dir     string
	test    bool
	imports map[string]string // name in the file → path
	file    *ast.File
	fset    *token.FileSet
}

// sources parses every Go file of the main module, for every system and build tag.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if _, err := fs.Stat(root, path+"/go.mod"); path != "." && (err == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return fs.SkipDir // another module, or no Go
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		s := source{path: path, dir: filepath.ToSlash(filepath.Dir(path)), test: strings.HasSuffix(path, "_test.go"), fset: token.NewFileSet(), imports: map[string]string{}}
		s.file, err = parser.ParseFile(s.fset, filepath.Join("../..", path), nil, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return err
		}
		for _, spec := range s.file.Imports {
			p, _ := strconv.Unquote(spec.Path.Value)
			name := p[strings.LastIndexByte(p, '/')+1:]
			if spec.Name != nil {
				name = spec.Name.Name
			}
			s.imports[name+" "+p] = p
		}
		out = append(out, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 50 {
		t.Fatalf("only %d Go files were found", len(out))
	}
	return out
}

func (s source) paths() []string {
	var out []string
	for _, p := range s.imports {
		out = append(out, p)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t) {
		allowed, known := internalImports[s.dir]
		if !known && !seen[s.dir] {
			t.Errorf("%s is not in internalImports: say there what it may import", s.dir)
		}
		seen[s.dir] = true
		if s.test || !known || allowed == "*" {
			continue
		}
		for _, p := range s.paths() {
			if of, ours := strings.CutPrefix(p, module); ours && !slices.Contains(strings.Fields(allowed), of) {
				t.Errorf("%s imports %s, %s may import only: %s", s.path, of, s.dir, allowed)
			}
		}
	}
	for dir, allowed := range internalImports {
		if !seen[dir] {
			t.Errorf("%s stands in internalImports but does not exist", dir)
		}
		for _, of := range strings.Fields(allowed) {
			if _, ok := internalImports[of]; !ok && of != "*" {
				t.Errorf("%s may import %s, which does not exist", dir, of)
			}
		}
	}
}

func TestNothingImportsItselfInACircleOfPermissions(t *testing.T) {
	var visit func(dir string, way []string)
	visit = func(dir string, way []string) {
		if slices.Contains(way, dir) {
			t.Fatalf("internalImports permits a circle: %s", strings.Join(append(way, dir), " → "))
		}
		for _, of := range strings.Fields(internalImports[dir]) {
			if of != "*" {
				visit(of, append(way, dir))
			}
		}
	}
	for dir := range internalImports {
		visit(dir, nil)
	}
}

func TestEveryLibraryHasOneImporter(t *testing.T) {
	used := map[string]bool{}
	for _, s := range sources(t) {
		for _, p := range s.paths() {
			if host, _, _ := strings.Cut(p, "/"); !strings.Contains(host, ".") || strings.HasPrefix(p, module) {
				continue
			}
			library := ""
			for l := range libraries {
				if p == l || strings.HasPrefix(p, l+"/") {
					library = l
				}
			}
			used[library] = true
			switch {
			case s.test:
			case library == "":
				t.Errorf("%s imports %s, which is not in libraries", s.path, p)
			case !slices.Contains(strings.Fields(libraries[library]), s.dir):
				t.Errorf("%s imports %s, which belongs to %s", s.path, p, libraries[library])
			}
		}
	}
	for l := range libraries {
		if !used[l] {
			t.Errorf("%s stands in libraries but nothing imports it", l)
		}
	}
}

func TestCoreKnowsNoTechnology(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || !slices.Contains(core, s.dir) {
			continue
		}
		for _, p := range s.paths() {
			if slices.Contains(notInCore, p) {
				t.Errorf("%s imports %s: the core has a port instead", s.path, p)
			}
			if host, _, _ := strings.Cut(p, "/"); strings.Contains(host, ".") && !strings.HasPrefix(p, module) {
				t.Errorf("%s imports %s: the core imports no libraries", s.path, p)
			}
		}
	}
}

// selectors calls fn for each pkg.Name of a file, with the package's import path in place of its local name.
func (s source) selectors(fn func(pos token.Pos, name string)) {
	local := map[string]string{}
	for key, p := range s.imports {
		name, _, _ := strings.Cut(key, " ")
		local[name] = p
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && local[x.Name] != "" {
			p := local[x.Name]
			fn(sel.Pos(), p[strings.LastIndexByte(p, '/')+1:]+"."+sel.Sel.Name)
		}
		return true
	})
}

func TestCallsStayInTheirPlace(t *testing.T) {
	excused := map[string]bool{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		s.selectors(func(pos token.Pos, name string) {
			for _, rule := range calls {
				if !matches(rule.name, name) || slices.ContainsFunc(rule.where, func(dir string) bool { return strings.HasPrefix(s.path, dir) }) {
					continue
				}
				if rule.files[s.path] != "" {
					excused[rule.name+" "+s.path] = true
					continue
				}
				t.Errorf("%s:%d: %s: %s", s.path, s.fset.Position(pos).Line, name, rule.instead)
			}
		})
	}
	for _, rule := range calls {
		for path := range rule.files {
			if !excused[rule.name+" "+path] {
				t.Errorf("%s is excused for %s but does not use it", path, rule.name)
			}
		}
	}
}

// Tests open bubbles through testkit too, which knows what the race detector cannot stand.
func TestBubblesAreOpenedByTestkit(t *testing.T) {
	for _, s := range sources(t) {
		s.selectors(func(pos token.Pos, name string) {
			if name == "synctest.Test" && s.path != "internal/testkit/bubble.go" {
				t.Errorf("%s:%d: %s: call testkit.Bubble", s.path, s.fset.Position(pos).Line, name)
			}
		})
	}
}

// matches reports whether a name is in a space-separated list whose entries may end in *.
func matches(list, name string) bool {
	for _, entry := range strings.Fields(list) {
		if start, open := strings.CutSuffix(entry, "*"); name == entry || open && strings.HasPrefix(name, start) {
			return true
		}
	}
	return false
}

func TestWallClockIsReadOnlyWhereItMayBe(t *testing.T) {
	used, turned := map[string]bool{}, map[string]bool{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		s.selectors(func(pos token.Pos, name string) {
			if name != "time.Now" {
				return
			}
			entry := excuse(wallClock, s.path)
			used[entry] = true
			if entry == "" {
				t.Errorf("%s:%d: time.Now: a stored time comes from dbclock; if this only measures how long something takes, say so in wallClock", s.path, s.fset.Position(pos).Line)
			}
		})
		for _, call := range s.instants() {
			turned[s.path] = true
			if instants[s.path] == "" && !strings.HasPrefix(s.path, "internal/testkit/") {
				t.Errorf("%s turns a time into a number or text: instants come from dbclock as milliseconds", call)
			}
		}
	}
	for path := range wallClock {
		if !used[path] {
			t.Errorf("%s stands in wallClock but does not call time.Now", path)
		}
	}
	for path := range instants {
		if !turned[path] {
			t.Errorf("%s stands in instants but turns none", path)
		}
	}
}

// excuse finds the entry for a file: itself, or a folder above it.
func excuse(list map[string]string, path string) string {
	for entry := range list {
		if entry == path || strings.HasSuffix(entry, "/") && strings.HasPrefix(path, entry) {
			return entry
		}
	}
	return ""
}

// instants finds x.UnixMilli(), x.Format(...) and the like.
func (s source) instants() (found []string) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, plain := sel.X.(*ast.Ident)
		number := matches("Unix UnixMilli UnixMicro UnixNano", sel.Sel.Name) && len(call.Args) == 0
		text := matches("Format AppendFormat", sel.Sel.Name) && len(call.Args) > 0
		if (number || text) && !(plain && s.imports[x.Name+" "+x.Name] != "") {
			found = append(found, s.path+":"+strconv.Itoa(s.fset.Position(sel.Pos()).Line))
		}
		return true
	})
	return found
}

func TestExportedThingsAreExplained(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		if s.file.Doc != nil && !s.test {
			documented[s.dir] = true
		}
		if s.test || s.file.Name.Name == "main" {
			continue
		}
		for _, d := range s.file.Decls {
			s.checkDoc(t, d)
		}
	}
	for dir := range internalImports {
		if !documented[dir] {
			if _, err := os.Stat(filepath.Join("../..", dir)); err == nil && !onlyTests(filepath.Join("../..", dir)) {
				t.Errorf("%s has no package comment", dir)
			}
		}
	}
}

func onlyTests(dir string) bool {
	files, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	return !slices.ContainsFunc(files, func(f string) bool { return !strings.HasSuffix(f, "_test.go") })
}

// checkDoc asks a comment of exported functions, methods of exported types, types, and groups of values.
func (s source) checkDoc(t *testing.T, d ast.Decl) {
	report := func(pos token.Pos, name string) {
		t.Errorf("%s:%d: %s has no comment", s.path, s.fset.Position(pos).Line, name)
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && !isObvious(d.Name.Name) {
			report(d.Pos(), d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Name.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
					report(spec.Pos(), spec.Name.Name)
				}
			case *ast.ValueSpec:
				if spec.Names[0].IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
					report(spec.Pos(), spec.Names[0].Name)
				}
			}
		}
	}
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if generic, ok := typ.(*ast.IndexExpr); ok {
		typ = generic.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}

// isObvious are methods whose meaning is an interface of the standard library.
func isObvious(name string) bool {
	return slices.Contains([]string{"Error", "Unwrap", "Len", "Less", "Swap", "Push", "Pop", "String"}, name)
}
