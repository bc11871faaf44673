package config_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/config"
)

func database(login string) string {
	return small + "[virtual.check]\ntype = \"mysql\"\nlogin = \"monitor\"\n" + login + "\n"
}

// Passwords may come from the environment.
func TestEnvironment(t *testing.T) {
	env := config.Options{Getenv: func(name string) (string, bool) {
		v, ok := map[string]string{"DB_PASSWORD": "s3cret", "EMPTY": ""}[name]
		return v, ok
	}}
	for in, want := range map[string]string{
		`"${DB_PASSWORD}"`:           "s3cret",
		`"a${DB_PASSWORD}${EMPTY}z"`: "as3cretz",
		`"$${DB_PASSWORD}"`:          "${DB_PASSWORD}",
		`"$DB_PASSWORD $ {x}"`:       "$DB_PASSWORD $ {x}",
	} {
		c, err := config.Parse("env.toml", []byte(database("password = "+in)), env)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := c.Virtuals[0].Checks[0].Password.Reveal(); got != want {
			t.Errorf("%s is %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		`"${NOT_THERE}"`:  "env.toml:6: password: the environment has no NOT_THERE\n  hint: set it for the daemon, in its unit: Environment= or EnvironmentFile=",
		`"${a-b}"`:        "env.toml:6: password: bad variable after ${\n  hint: ${NAME} is a variable of the environment; write $${ for the characters",
		`"${DB_PASSWORD"`: "env.toml:6: password: bad variable after ${\n  hint: ${NAME} is a variable of the environment; write $${ for the characters",
		`5`:               "env.toml:6: password: want a text in quotes",
	} {
		_, err := config.Parse("env.toml", []byte(database("password = "+in)), env)
		if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", in, diff)
		}
	}
}

// A password file is read, and refused when it is none.
func TestPasswordFile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	load := func(file string) (*config.Config, error) {
		return config.Load(write(t, at("goipvs.toml"), database("password_file = \""+file+"\""), 0o644), config.Options{})
	}
	c, err := load(write(t, at("good"), "s3cret\r\n", 0o640))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Virtuals[0].Checks[0].Password.Reveal(); got != "s3cret" {
		t.Errorf("password %q", got)
	}
	if diff := cmp.Diff([]string{at("goipvs.toml"), at("good")}, c.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for file, want := range map[string]string{
		write(t, at("open"), "s3cret", 0o644):                   "everybody can read it (mode 0644)\n  hint: chmod o-r DIR/open",
		write(t, at("empty"), "\n", 0o600):                      "the file is empty",
		write(t, at("lines"), "a\nb\n", 0o600):                  "more than one line\n  hint: it holds the secret and nothing else",
		write(t, at("large"), strings.Repeat("x", 5000), 0o600): "the file is too large",
		at("none"): "open: no such file or directory",
		dir:        "not a regular file: a directory",
	} {
		_, err := load(file)
		got := strings.ReplaceAll(fmt.Sprint(err), dir, "DIR")
		if diff := cmp.Diff("DIR/goipvs.toml:6: password_file: "+strings.ReplaceAll(file, dir, "DIR")+": "+want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if _, err := config.Load(at("goipvs.toml"), config.Options{NoSecrets: true}); err != nil {
		t.Errorf("without secrets: %v", err)
	}
}

// What everybody can read must not hold a password, and what everybody can
// write must not tell the daemon what to run.
func TestModes(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "goipvs.toml")
	const inline = "DIR/goipvs.toml:6: password: a secret in a file that everybody can read (mode 0644)\n  hint: chmod o-r the file, or use password_file, secret_file or ${NAME}"
	if diff := cmp.Diff(inline, wrong(t, write(t, at, database(`password = "x"`), 0o644))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	const open = "DIR/goipvs.toml: everybody can write the file (mode 0666)\n  hint: chmod o-w DIR/goipvs.toml: it tells the daemon what to run"
	if diff := cmp.Diff(open, wrong(t, write(t, at, small, 0o666))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	t.Setenv("GOIPVS_TEST_PASSWORD", "x")
	for text, mode := range map[string]os.FileMode{database(`password = "x"`): 0o640, database(`password = "${GOIPVS_TEST_PASSWORD}"`): 0o644} {
		if _, err := config.Load(write(t, at, text, mode), config.Options{}); err != nil {
			t.Error(err)
		}
	}
}

// However a secret is printed, it does not show.
func TestSecretsDoNotShow(t *testing.T) {
	c := parse(t, database(`password = "s3cret"`))
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("check", "check", c.Virtuals[0].Checks[0], "password", c.Virtuals[0].Checks[0].Password)
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c.Virtuals[0].Checks), string(j), log.String()} {
		if strings.Contains(s, "s3cret") {
			t.Error(s)
		}
	}
}
