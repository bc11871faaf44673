package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/healthcheck"
)

func monitor(asked *int) *Monitor {
	now := time.Now()
	one, failed := int32(1), uint64(4)
	return NewMonitor("1.2", func() (control.Status, error) {
		*asked++
		return control.Status{Version: "1.2", Time: now, Kernel: "ok", Userspace: &control.Userspace{Connections: 5, Limit: 10, NoFiles: 3}, Services: []control.ServiceStatus{{
			Name: `<script>"web"`, Service: "tcp 192.0.2.10:80", State: "up", Capacity: 1,
			Servers: []control.ServerStatus{
				{Address: "10.0.0.1:80", Verdict: "up", Place: "in", Weight: 1, WeightWanted: 1, WeightKernel: &one, Active: 7,
					Stats: &control.Stats{Connections: 9, ConnectFailures: &failed}, Checks: []control.Check{{Type: "http", Last: &now}}},
				{Address: "10.0.0.2:80", Verdict: "down", Place: "out", Reason: "<b>no</b>", Override: &control.Override{Kind: "maintain", Reason: "<i>"}},
			},
		}}}, nil
	})
}

func get(t *testing.T, m *Monitor, method, path string) (int, string) {
	t.Helper()
	r := httptest.NewRecorder()
	m.Handler().ServeHTTP(r, httptest.NewRequest(method, path, nil))
	b, err := io.ReadAll(r.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.Code, string(b)
}

// TestMetrics: what is shown, and that however many look, the daemon is asked once
// a second at most.
func TestMetrics(t *testing.T) { synctest.Test(t, testMetrics) }

func testMetrics(t *testing.T) {
	asked := 0
	m := monitor(&asked)
	m.Event("server_down")
	m.Check("x", healthcheck.Result{Err: errors.New("no"), Took: time.Millisecond})
	_, text := get(t, m, "GET", "/metrics")
	for _, want := range []string{
		`goipvs_server_up{address="tcp 192.0.2.10:80",server="10.0.0.1:80",service="<script>\"web\""} 1`,
		`goipvs_server_up{address="tcp 192.0.2.10:80",server="10.0.0.2:80",service="<script>\"web\""} 0`,
		`goipvs_server_weight{address="tcp 192.0.2.10:80",kind="kernel",server="10.0.0.1:80",service="<script>\"web\""} 1`, `state="active"} 7`, `goipvs_server_connections_total{`, `goipvs_events_total{event="server_down"} 1`,
		`goipvs_check_failures_total{reason="answer"} 1`, `goipvs_check_duration_seconds_count{verdict="down"} 1`,
		`goipvs_server_connect_failures_total{address="tcp 192.0.2.10:80",server="10.0.0.1:80",service="<script>\"web\""} 4`, `goipvs_userspace_connections 5`, `goipvs_userspace_connections_max 10`, `goipvs_userspace_errors_total{kind="no_files"} 3`,
		`goipvs_config_last_reload_successful 1`, `goipvs_build_info{`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	for range 10 {
		get(t, m, "GET", "/metrics")
		get(t, m, "GET", "/status.json")
	}
	if asked != 1 {
		t.Errorf("the daemon was asked %d times within a second", asked)
	}
	time.Sleep(fresh + 1)
	if get(t, m, "GET", "/status.json"); asked != 2 {
		t.Errorf("the daemon was asked %d times, want a second time after a second", asked)
	}
}

// TestPageIsSafe: names and reasons come from files and servers.
func TestPageIsSafe(t *testing.T) {
	asked := 0
	code, text := get(t, monitor(&asked), "GET", "/")
	if code != 200 || strings.Contains(text, "<script>") || strings.Contains(text, "<b>no") || strings.Contains(text, "<i>") {
		t.Errorf("%d\n%s", code, text)
	}
	for _, want := range []string{"10.0.0.1:80", "10.0.0.2:80", "maintain"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
}

// TestReadOnly: nothing but reading.
func TestReadOnly(t *testing.T) {
	asked := 0
	m := monitor(&asked)
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
		for _, path := range []string{"/", "/metrics", "/status.json"} {
			if code, _ := get(t, m, method, path); code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, path, code)
			}
		}
	}
	for _, path := range []string{"/debug/pprof/", "/reload", "/../etc/passwd"} {
		if code, _ := get(t, m, "GET", path); code == 200 {
			t.Errorf("GET %s: %d", path, code)
		}
	}
}

// TestListensOnce: an address that was set before Run is listened on once, and
// whoever comes first is not cut off.
func TestListensOnce(t *testing.T) {
	for range 20 { // either may come first
		records := make(recorder, 16)
		s := NewServer(monitor(new(int)), slog.New(records))
		s.Set("127.0.0.1:0")
		ctx, end := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx) }()
		<-records
		s.mu.Lock()
		pending := len(s.wake)
		s.mu.Unlock()
		end()
		<-done
		if n := len(records); n+pending > 0 {
			t.Errorf("it listened, and %d more times; %d to come", n, pending)
		}
	}
}

// recorder is a log that keeps its records.
type recorder chan slog.Record

func (recorder) Enabled(context.Context, slog.Level) bool        { return true }
func (r recorder) Handle(_ context.Context, l slog.Record) error { r <- l; return nil }
func (r recorder) WithAttrs([]slog.Attr) slog.Handler            { return r }
func (r recorder) WithGroup(string) slog.Handler                 { return r }
