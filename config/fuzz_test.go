package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/config"
)

// seeds adds the TOML files of the repository.
func seeds(f *testing.F) {
	for _, pattern := range []string{"testdata/*.toml", "../examples/config/*.toml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatal(pattern, err)
		}
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(b))
		}
	}
}

// Whatever is in a file: it is refused with problems, or it loads, and then
// printing it and loading that gives the same, and the same text again.
func FuzzLoad(f *testing.F) {
	seeds(f)
	f.Add("[[virtual]]\naddress='1.2.3.4:80'\npersistent='3s'\nreal=[{address='a.b'},{address='10.0.0.1-10.0.0.9:80',weight=0}]\n")
	f.Add("[[virtual]]\nfwmark=3\nfamily='ipv6'\nforward='tun'\ncheck=[{type='on'},{type='tcp',port=3,receive='hex:0x'}]\nfallback=[{address='10.0.0.1',forward='nat'},'x.y']\n")
	f.Add("[[virtual]]\naddress='[2001:db8::1]:0'\npersistent='1m'\npersistent_prefix=64\nname='\\u202e'\n[virtual.check]\ntype='submission'\nlogin='a$${b'\npassword='\"'\n[[virtual.real]]\naddress='2001:db8::2'\ncheck={tls='off'}\n")
	f.Fuzz(func(t *testing.T, text string) {
		env := func(name string) (string, bool) { return "value of " + name, true }
		c, err := config.Parse("fuzz.toml", []byte(text), config.Options{Getenv: env})
		if err != nil {
			var list config.Errors
			if !errors.As(err, &list) || len(list) == 0 || list[0].Text == "" {
				t.Fatalf("not a list of problems: %#v", err)
			}
			return
		}
		if len(c.Include) > 0 {
			return
		}
		printed := config.Print(c)
		again, err := config.Parse("printed.toml", printed, config.Options{Getenv: env})
		if err != nil {
			t.Fatalf("what was printed does not load: %v\n%s", err, printed)
		}
		if diff := cmp.Diff(c, again, same); diff != "" {
			t.Fatalf("printed and loaded it is another (-loaded +again):\n%s\n%s", diff, printed)
		}
		if diff := cmp.Diff(string(printed), string(config.Print(again))); diff != "" {
			t.Fatalf("printed twice (-first +second):\n%s", diff)
		}
	})
}
