package testkit

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Every sentence of docs/schedules.md that is marked as proven is quoted by a test, which fails when it says something else.
func TestEverySentenceIsProven(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	all, err := Sentences(filepath.Join(root, "docs", "schedules.md"))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 30 {
		t.Fatalf("only %d sentences are marked", len(all))
	}
	quoted := quotations(t, filepath.Join(root, "internal"))
	for id, sentence := range all {
		if !quoted[sentence] {
			t.Errorf("no test proves %s: %s", id, sentence)
		}
	}
}

// quotations are the sentences that tests give to Says.
func quotations(t *testing.T, dir string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		raw, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil || !strings.Contains(string(raw), "testkit.Says(") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, raw, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 2 {
				return true
			}
			if fn, ok := call.Fun.(*ast.SelectorExpr); !ok || fn.Sel.Name != "Says" {
				return true
			}
			if s, ok := text(call.Args[1]); ok {
				out[s] = true
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// text is the value of a literal, or of literals joined by +.
func text(e ast.Expr) (string, bool) {
	switch x := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(x.Value)
		return s, err == nil
	case *ast.BinaryExpr:
		a, ok := text(x.X)
		b, fine := text(x.Y)
		return a + b, ok && fine
	}
	return "", false
}
