// Package prometheus holds the rules for Prometheus; its test has promtool judge
// them, and holds them and the dashboard to what a daemon exports.
package prometheus

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/director/daemon"
	"github.com/goipvs/goipvs/internal/lab/boot"
	"github.com/goipvs/goipvs/ipvs/ipvstest"
)

// TestRules: Prometheus' own tool takes the rules, and the alerts come when they
// should, and only then.
func TestRules(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		dir, err := boot.Packages("prometheus", "prometheus")
		if err != nil {
			t.Fatal("this test needs promtool, of Debian's package prometheus: ", err)
		}
		tool = filepath.Join(dir, "usr/bin/promtool")
	}
	for _, args := range [][]string{{"check", "rules", "goipvs.rules.yml"}, {"test", "rules", "goipvs.rules.test.yml"}} {
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %q: %v\n%s", args, err, out)
		}
	}
}

// TestNames: whatever rules and dashboard ask for, a running daemon exports under
// that name and with those labels, and the events they count there are.
func TestNames(t *testing.T) {
	exported := labelsOf(scrape(t))
	known := map[string]bool{}
	for _, k := range director.Kinds() {
		known[k.Name] = true
	}
	for where, list := range map[string][]string{"goipvs.rules.yml": expressions(t, "goipvs.rules.yml"), "goipvs.json": queries(t, "../grafana/goipvs.json")} {
		if len(list) < 15 {
			t.Errorf("only %d expressions in %s", len(list), where)
		}
		for _, expr := range list {
			for _, use := range uses(expr) {
				labels, ok := exported[use.name]
				if !ok && use.name != "up" {
					t.Errorf("%s: no daemon exports %s, in %s", where, use.name, expr)
				}
				for _, l := range use.labels {
					if l != "instance" && l != "job" && !labels[l] {
						t.Errorf("%s: %s has no label %s, in %s", where, use.name, l, expr)
					}
				}
				for _, e := range use.events {
					if !known[e] {
						t.Errorf("%s: there is no event %s, in %s", where, e, expr)
					}
				}
			}
		}
	}
}

// use is a metric in an expression.
type use struct {
	name           string
	labels, events []string
}

var (
	metric  = regexp.MustCompile(`\b(goipvs_\w+|up)\b(\{[^}]*\})?`)
	matcher = regexp.MustCompile(`(\w+)\s*(?:=|!=|=~|!~)\s*"([^"]*)"`)
	groups  = regexp.MustCompile(`\b(?:by|without)\s*\(([^)]*)\)`)
	strs    = regexp.MustCompile(`"[^"]*"`)
)

// uses are the metrics of an expression, with the labels they are asked by. The
// labels that it groups by must be of the first of them.
func uses(expr string) (out []use) {
	for _, m := range metric.FindAllStringSubmatchIndex(expr, -1) {
		u := use{name: expr[m[2]:m[3]]}
		if strings.Count(expr[:m[0]], `"`)%2 == 1 {
			continue // within a string
		}
		if m[4] >= 0 {
			for _, l := range matcher.FindAllStringSubmatch(expr[m[4]:m[5]], -1) {
				u.labels = append(u.labels, l[1])
				if l[1] == "event" {
					u.events = append(u.events, strings.Split(l[2], "|")...)
				}
			}
		}
		out = append(out, u)
	}
	for _, g := range groups.FindAllStringSubmatch(strs.ReplaceAllString(expr, `""`), -1) {
		for l := range strings.SplitSeq(g[1], ",") {
			out[len(out)-1].labels = append(out[len(out)-1].labels, strings.TrimSpace(l))
		}
	}
	return out
}

// expressions are those of a rules file.
func expressions(t *testing.T, file string) (out []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^\s+expr: (.*)$`).FindAllStringSubmatch(read(t, file), -1) {
		out = append(out, m[1])
	}
	return out
}

// queries are those of a dashboard, its variables included.
func queries(t *testing.T, file string) (out []string) {
	t.Helper()
	var board struct {
		UID        string
		Panels     []struct{ Targets []struct{ Expr string } }
		Templating struct{ List []struct{ Definition string } }
	}
	if err := json.Unmarshal([]byte(read(t, file)), &board); err != nil || board.UID == "" {
		t.Fatal(err, board.UID)
	}
	for _, p := range board.Panels {
		for _, q := range p.Targets {
			out = append(out, q.Expr)
		}
	}
	for _, v := range board.Templating.List {
		if v.Definition != "" {
			out = append(out, v.Definition)
		}
	}
	return out
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// labelsOf are the metrics of a scrape, and the labels that each has.
func labelsOf(text string) map[string]map[string]bool {
	out := map[string]map[string]bool{}
	for line := range strings.Lines(text) {
		m := metric.FindStringSubmatch(line)
		if m == nil || strings.HasPrefix(line, "#") {
			continue
		}
		if out[m[1]] == nil {
			out[m[1]] = map[string]bool{}
		}
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			out[m[1]][l[1]] = true
		}
	}
	return out
}

// scrape is what a daemon exports that has had a life: servers up and down, one
// of them drained.
func scrape(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	alive, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	sock := filepath.Join(dir, "sock")
	file := filepath.Join(dir, "goipvs.toml")
	text := fmt.Sprintf("control = %q\ncontrol_group = \"\"\nstate_dir = %q\nhttp = %q\n[check]\ninterval = \"50ms\"\n[[virtual]]\nname = \"web\"\naddress = \"192.0.2.1:80\"\nforward = \"nat\"\n"+
		"[[virtual.real]]\naddress = %q\n[[virtual.real]]\naddress = \"127.0.0.1:9\"\n", sock, filepath.Join(dir, "state"), address, alive.Addr())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Options{Config: file, Version: "test", Kernel: ipvstest.New(ipvstest.Options{}), Log: slog.New(slog.DiscardHandler)})
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	seen := ""
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		drain(alive.Addr().String(), sock)
		if seen = get(address); whole(seen) {
			return seen
		}
	}
	t.Fatalf("the daemon never exported all of it:\n%s", seen)
	return ""
}

// whole tells whether a scrape has what only a daemon with some past has.
func whole(text string) bool {
	return !slices.ContainsFunc([]string{"goipvs_server_override{", "goipvs_check_failures_total{", "goipvs_server_connections_total{", "goipvs_server_last_check_timestamp_seconds{", `event="server_down"`},
		func(s string) bool { return !strings.Contains(text, s) })
}

func drain(server, sock string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := control.Dial(ctx, sock)
	if err != nil {
		return // not yet
	}
	defer c.Close()
	_ = c.Do(ctx, "weight", control.ServerArgs{Server: server, Weight: new(int32)}, nil)
}

func get(address string) string {
	client := http.Client{Timeout: time.Minute}
	a, err := client.Get("http://" + address + "/metrics")
	if err != nil {
		return "" // not yet
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		return ""
	}
	return string(b)
}
