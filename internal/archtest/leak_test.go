package archtest

import (
	"go/ast"
	"testing"
)

// goroutines gives a line where a file starts a goroutine, 0 if nowhere: by a go statement, or by the Go of a WaitGroup.
func (s source) goroutines() (line int) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			line = s.fset.Position(n.Pos()).Line
		case *ast.CallExpr:
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Go" && len(n.Args) == 1 {
				line = s.fset.Position(n.Pos()).Line
			}
		}
		return line == 0
	})
	return line
}

// looksForLeaks reports whether a file has a TestMain and asks goleak.
func (s source) looksForLeaks() bool {
	main, asks := false, false
	for _, d := range s.file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "TestMain" {
			main = true
		}
	}
	for _, p := range s.paths() {
		asks = asks || p == "go.uber.org/goleak"
	}
	return main && asks
}

// Whoever starts goroutines proves that they end. A program without tests of its own ends with them.
func TestPackagesThatStartGoroutinesLookForLeaks(t *testing.T) {
	starts, looks, tests, program := map[string]string{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, s := range sources(t) {
		if line := s.goroutines(); line != 0 && starts[s.dir] == "" {
			starts[s.dir] = s.fset.Position(s.file.Pos()).Filename
		}
		looks[s.dir] = looks[s.dir] || s.looksForLeaks()
		tests[s.dir] = tests[s.dir] || s.test
		program[s.dir] = s.file.Name.Name == "main"
	}
	for dir, file := range starts {
		if !looks[dir] && noLeakCheck[dir] == "" && (tests[dir] || !program[dir]) {
			t.Errorf("%s starts goroutines (%s), but has no TestMain with goleak", dir, file)
		}
	}
	for dir := range noLeakCheck {
		if starts[dir] == "" || looks[dir] {
			t.Errorf("%s is excused from looking for leaks, but starts no goroutines or looks for them", dir)
		}
	}
}
