package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestNoSleep: a test that sleeps and then looks fails on a machine that is slower
// than its writer thought. It awaits what it looks for, in a loop, or lives in the
// fake time of testing/synctest. A sleep that is neither says why on its line.
func TestNoSleep(t *testing.T) {
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		for _, at := range sleeps(t, name, text) {
			t.Errorf("%s:%d: time.Sleep neither in a loop nor in fake time: await what it is for, or say on its line why not", filepath.ToSlash(name), at)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sleeps are the lines of a test file with a sleep that nothing excuses.
func sleeps(t *testing.T, name string, text []byte) (lines []int) {
	t.Helper()
	if strings.Contains(string(text), `"testing/synctest"`) {
		return nil
	}
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, name, text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var said []int // lines with a comment
	for _, g := range f.Comments {
		said = append(said, files.Position(g.Pos()).Line)
	}
	var loops []ast.Node
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ForStmt:
			loops = append(loops, n)
		case *ast.CallExpr:
			line := files.Position(n.Pos()).Line
			waits := slices.ContainsFunc(loops, func(l ast.Node) bool { return l.Pos() <= n.Pos() && n.End() <= l.End() })
			if isSleep(n) && !waits && !slices.Contains(said, line) {
				lines = append(lines, line)
			}
		}
		return true
	})
	return lines
}

func isSleep(c *ast.CallExpr) bool {
	s, ok := c.Fun.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != "Sleep" {
		return false
	}
	p, ok := s.X.(*ast.Ident)
	return ok && p.Name == "time"
}

func TestSleeps(t *testing.T) {
	const text = "package x\nfunc f() {\n\ttime.Sleep(1)\n\ttime.Sleep(2) // that is why\n\tfor {\n\t\ttime.Sleep(3)\n\t}\n}\n"
	if got := sleeps(t, "x_test.go", []byte(text)); !slices.Equal(got, []int{3}) {
		t.Errorf("lines %v, want 3", got)
	}
}
