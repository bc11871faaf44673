package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/config"
)

func service(n int) string { return fmt.Sprintf("[[virtual]]\naddress = \"192.0.2.%d:80\"\n", n) }

func named(c *config.Config) (out []string) {
	for _, v := range c.Virtuals {
		out = append(out, v.Name)
	}
	return out
}

// Included files bring services, in the order of their names.
func TestInclude(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.Mkdir(at("conf.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	main := write(t, at("goipvs.toml"), "include = [\"conf.d/*.toml\", \"one.toml\"]\n[check]\nfall = 3\n"+service(1), 0o644)
	write(t, at("conf.d/20.toml"), service(20), 0o644)
	write(t, at("conf.d/10.toml"), service(10)+service(11), 0o644)
	write(t, at("conf.d/10.toml~"), "nonsense", 0o644)
	write(t, at("conf.d/.x.toml.swp"), "nonsense", 0o644)
	write(t, at("one.toml"), service(30), 0o644)
	c, err := config.Load(main, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"192.0.2.1:80", "192.0.2.10:80", "192.0.2.11:80", "192.0.2.20:80", "192.0.2.30:80"}
	if diff := cmp.Diff(want, named(c)); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	if got := c.Virtuals[3].Checks[0].Fall; got != 3 {
		t.Errorf("fall %d: the defaults are those of the main file", got)
	}
	if diff := cmp.Diff([]string{main, at("conf.d/10.toml"), at("conf.d/20.toml"), at("one.toml")}, c.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if p := c.Virtuals[2].Pos; p != (config.Position{File: at("conf.d/10.toml"), Line: 3}) {
		t.Errorf("a service is at %s", p)
	}
	if diff := cmp.Diff(c, parse(t, string(config.Print(c))), same); diff != "" {
		t.Errorf("printed and loaded (-want +got):\n%s", diff)
	}
}

// The mistakes of all files are told together, each with its own.
func TestIncludeMistakes(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	main := write(t, at("goipvs.toml"), "include = [\"x*.toml\", \"none.toml\", \"nothing-*.toml\"]\nhttpp = \"\"\n"+service(1), 0o644)
	write(t, at("x1.toml"), "http = \"\"\ninclude = [\"*\"]\n"+service(1)+"[check]\n", 0o644)
	write(t, at("x2.toml"), service(2)+"scheduller = \"rr\"\n[[virtual.real]]\naddress = \"10.0.0.1\"\n[[virtual.real]]\naddress = \"10.0.0.1:80\"\n", 0o644)
	write(t, at("x3.toml"), "", 0o644)
	write(t, at("x4.toml"), "[[virtual]\n", 0o644)
	want := strings.Join([]string{
		`DIR/goipvs.toml:1: include: no file "DIR/none.toml"`,
		`  hint: a pattern with * may match nothing; a name must exist`,
		`DIR/goipvs.toml:2: unknown key "httpp"`,
		`  hint: did you mean "http"?`,
		`DIR/x1.toml:1: key "http" in an included file`,
		`  hint: an included file holds [[virtual]] only; the rest stands in the main file`,
		`DIR/x1.toml:2: key "include" in an included file`,
		`  hint: an included file holds [[virtual]] only; the rest stands in the main file`,
		`DIR/x1.toml:3: the service tcp 192.0.2.1:80 is there twice: also at DIR/goipvs.toml:3`,
		`DIR/x1.toml:5: key "check" in an included file`,
		`  hint: an included file holds [[virtual]] only; the rest stands in the main file`,
		`DIR/x2.toml:3: unknown key "scheduller" in [[virtual]]`,
		`  hint: did you mean "scheduler"?`,
		`DIR/x2.toml:6: the real server 10.0.0.1:80 is there twice: also at line 4`,
		`DIR/x3.toml: the file is empty`,
		`  hint: a file of comments alone is taken for one without services`,
		`DIR/x4.toml:1: expected end of table array name delimiter ']', but got '\n' instead`,
	}, "\n")
	if diff := cmp.Diff(want, wrong(t, main)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
