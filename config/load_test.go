package config_test

import (
	"flag"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/ipvs"
)

var update = flag.Bool("update", false, "rewrite golden files")

// same compares what configurations mean, not where it was read.
var same = cmp.Options{
	cmpopts.IgnoreTypes(config.Position{}),
	cmpopts.IgnoreFields(config.Config{}, "Files", "Sums", "Lines", "Include", "Warnings"),
	cmpopts.IgnoreFields(config.Virtual{}, "Comment"),
	cmpopts.IgnoreFields(config.FullNAT{}, "Asked"),
	cmpopts.EquateComparable(ipvs.Netmask{}, netip.Addr{}, netip.AddrPort{}),
	cmpopts.EquateEmpty(),
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// Every mistake of a file is named at once, with its line.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/bad*.toml")
	if err != nil || len(files) == 0 {
		t.Fatal(err, "no files")
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			_, err := config.Load(f, config.Options{})
			if err == nil {
				t.Fatal("no error")
			}
			golden(t, f+".golden", err.Error()+"\n")
		})
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	return path
}

// wrong is the whole error of loading a file, with dir as DIR.
func wrong(t *testing.T, path string) string {
	t.Helper()
	_, err := config.Load(path, config.Options{})
	if err == nil {
		t.Fatal("it loads")
	}
	return strings.ReplaceAll(err.Error(), filepath.Dir(path), "DIR")
}

const small = "[[virtual]]\naddress = \"192.0.2.10:80\"\n"

// What is no configuration file is refused, at once and with the reason.
func TestNotAConfiguration(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := syscall.Mkfifo(at("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(at("fifo"), at("link")); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	big := write(t, at("big"), "", 0o600)
	if err := os.Truncate(big, config.MaxFile+1); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		write(t, at("empty"), "", 0o600):                                   "DIR/empty: the file is empty\n  hint: a file of comments alone is taken for one without services",
		write(t, at("blanks"), " \r\n\t\n", 0o600):                         "DIR/blanks: the file is empty\n  hint: a file of comments alone is taken for one without services",
		write(t, at("zeros"), small+"\x00\x00", 0o600):                     "DIR/zeros:3: a zero byte\n  hint: was the file cut off by a crash, or saved as UTF-16?",
		write(t, at("utf16"), "\xff\xfe[\x00", 0o600):                      "DIR/utf16:1: the file is UTF-16\n  hint: save the file as UTF-8",
		write(t, at("latin1"), "# caf\xe9\n", 0o600):                       "DIR/latin1:1: not UTF-8\n  hint: save the file as UTF-8",
		write(t, at("long"), "#"+strings.Repeat("x", 1<<17)+"\n", 0o600):   "DIR/long:1: a line of 131074 bytes (at most 65536)",
		write(t, at("deep"), "\na = "+strings.Repeat("[", 99)+"\n", 0o600): "DIR/deep:2: nested more than 32 deep",
		write(t, at("cut"), small+"scheduler = \"w", 0o600):                "DIR/cut:3: unexpected EOF; expected '\"'",
		write(t, at("curly"), "control = “x”\n", 0o600):                    "DIR/curly:1: expected value but found '“' instead\n  hint: text stands in straight quotes: key = \"text\"",
		big:          "DIR/big: the file is too large",
		at("fifo"):   "DIR/fifo: not a regular file: a FIFO",
		at("link"):   "DIR/link: not a regular file: a FIFO",
		at("socket"): "DIR/socket: open: no such device or address",
		"/dev/null":  "/dev/null: not a regular file: a device",
		"/dev/zero":  "/dev/zero: not a regular file: a device",
		dir:          "",
		at("none"):   "DIR/none: open: no such file or directory\n  hint: \"goipvs import ldirectord FILE\" (or keepalived) makes one; a small one is in the examples of goipvs.toml(5)",
	} {
		got := wrong(t, name)
		if name == dir {
			got, want = strings.TrimPrefix(got, "DIR/"+filepath.Base(dir)), ": not a regular file: a directory"
		}
		if name == "/dev/null" || name == "/dev/zero" {
			got = strings.ReplaceAll(got, "DIR", "/dev")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", filepath.Base(name), diff)
		}
	}
}

// Line ends and marks of other systems are no mistakes.
func TestForeignText(t *testing.T) {
	want := parse(t, small)
	for _, text := range []string{"\ufeff" + small, strings.ReplaceAll(small, "\n", "\r\n"), strings.TrimSuffix(small, "\n")} {
		if diff := cmp.Diff(want, parse(t, text), same); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
	if c := parse(t, "# nothing here\n"); len(c.Virtuals) != 0 {
		t.Error("services out of nothing")
	}
}
