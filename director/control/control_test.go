package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// serve runs a Server for the test and returns the path of its socket.
func serve(t *testing.T, s *Server) string {
	t.Helper()
	if s.Verbs == nil {
		s.Verbs = map[string]Verb{
			"echo": {Do: func(_ context.Context, _ Peer, args []byte) (any, error) { return json.RawMessage(args), nil }},
			"fail": {Do: func(context.Context, Peer, []byte) (any, error) { return nil, errors.New("no") }},
			"missing": {Do: func(context.Context, Peer, []byte) (any, error) {
				return nil, &Error{Code: NotFound, Message: "none", Hint: "look"}
			}},
			"write": {Write: true, Do: func(_ context.Context, p Peer, _ []byte) (any, error) { return p.UID, nil }},
		}
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return path
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// TestRequests: what is sent, and what comes back, line by line.
func TestRequests(t *testing.T) {
	path := serve(t, &Server{UID: os.Getuid()})
	for _, tt := range []struct{ send, want string }{
		{`{"id":1,"verb":"echo","args":{"a":[1,"x"]}}`, `{"id":1,"result":{"a":[1,"x"]}}`},
		{`{"id":"abc","verb":"echo","args":{}}`, `{"id":"abc","result":{}}`},
		{`{"verb":"echo","args":{}}`, `{"result":{}}`},
		{`{"id":2,"verb":"nosuch"}`, `{"id":2,"error":{"code":"unknown_verb","message":"unknown verb \"nosuch\""}}`},
		{`{"id":3,"verb":"fail"}`, `{"id":3,"error":{"code":"failed","message":"no"}}`},
		{`{"id":4,"verb":"missing"}`, `{"id":4,"error":{"code":"not_found","message":"none","hint":"look"}}`},
		{`{"id":5,"verb":"write"}`, fmt.Sprintf(`{"id":5,"result":%d}`, os.Getuid())},
		{`{"id":6,"verb":"echo","more":1}`, `bad_request`},
		{`{"id":7,"verb":"echo"} {"id":8,"verb":"echo"}`, `bad_request`},
		{`{"id":{},"verb":"echo"}`, `bad_request`},
		{`[]`, `bad_request`}, {`null`, `unknown_verb`}, {``, `bad_request`}, {`{"id":9,"verb":`, `bad_request`},
		{"\x00\xff\xfe", `bad_request`}, {`{"verb":7}`, `bad_request`}, {strings.Repeat("[", 10000), `bad_request`},
	} {
		c := dial(t, path)
		fmt.Fprintf(c, "%s\n", tt.send)
		got, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || !strings.Contains(got, tt.want) || strings.HasPrefix(tt.want, "{") && got != tt.want+"\n" {
			t.Errorf("%.80q: got %q, %v, want %s", tt.send, got, err, tt.want)
		}
		fmt.Fprintln(c, `{"id":99,"verb":"echo","args":{}}`) // the connection is still of use
		if got, err := bufio.NewReader(c).ReadString('\n'); err != nil || got != `{"id":99,"result":{}}`+"\n" {
			t.Errorf("after %.80q: got %q, %v", tt.send, got, err)
		}
		c.Close()
	}
}

// TestOthersMayNotWrite: only root and the daemon's user change something.
func TestOthersMayNotWrite(t *testing.T) {
	if os.Getuid() == 0 {
		s := &Server{UID: 12345, Verbs: map[string]Verb{"write": {Write: true}, "echo": {}}}
		s.init()
		for uid, want := range map[int]Code{65534: Denied, 1: Denied} {
			x := &session{server: s, peer: Peer{UID: uid}}
			if r := x.handle(t.Context(), []byte(`{"id":1,"verb":"write"}`)); r.Error == nil || r.Error.Code != want {
				t.Errorf("uid %d: %+v", uid, r.Error)
			}
		}
		return
	}
	path := serve(t, &Server{UID: os.Getuid() + 1})
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var e *Error
	if err := c.Do(t.Context(), "write", nil, nil); !errors.As(err, &e) || e.Code != Denied {
		t.Errorf("%v", err)
	}
}

// TestHuge: a request has an end, and whoever sends more is cut off.
func TestHuge(t *testing.T) {
	path := serve(t, &Server{})
	for _, n := range []int{MaxRequest - 100, MaxRequest + 1, 10 << 20} {
		c := dial(t, path)
		request := `{"id":1,"verb":"echo","args":{"x":"` + strings.Repeat("y", n) + `"}}` + "\n"
		go func() { _, _ = io.WriteString(c, request) }()
		got, _ := bufio.NewReader(c).ReadString('\n')
		if fits := n < MaxRequest-64; fits != strings.Contains(got, `"result"`) {
			t.Errorf("%d bytes: %.100q", n, got)
		}
	}
	works(t, path)
}

// TestSlow: whoever says nothing, or one byte after the other, is cut off, and
// nobody else notices.
func TestSlow(t *testing.T) {
	path := serve(t, &Server{Limits: Limits{Read: 200 * time.Millisecond}})
	silent, drip := dial(t, path), dial(t, path)
	go func() {
		for _, b := range []byte(strings.Repeat(" ", 1000)) {
			if _, err := drip.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond) // the drip
		}
	}()
	worksInTheEnd(t, path)
	for _, c := range []net.Conn{silent, drip} {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
			t.Errorf("not cut off: %v", err)
		}
	}
}

// TestDeaf: a client that does not read its answers holds up nobody.
func TestDeaf(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	s := &Server{Limits: Limits{Write: 200 * time.Millisecond}, Verbs: map[string]Verb{
		"big":  {Do: func(context.Context, Peer, []byte) (any, error) { return big, nil }},
		"echo": {Do: func(_ context.Context, _ Peer, args []byte) (any, error) { return json.RawMessage(args), nil }},
	}}
	path := serve(t, s)
	deaf := dial(t, path)
	for range 10 {
		fmt.Fprintln(deaf, `{"verb":"big"}`)
	}
	worksInTheEnd(t, path)
}

// TestDeafIsCutOff: a client that does not read its answer loses its place.
func TestDeafIsCutOff(t *testing.T) {
	began := make(chan struct{})
	s := &Server{Limits: Limits{Clients: 1, Write: 200 * time.Millisecond}, Verbs: map[string]Verb{
		"big":  {Do: func(context.Context, Peer, []byte) (any, error) { close(began); return strings.Repeat("x", 4<<20), nil }},
		"echo": {Do: func(_ context.Context, _ Peer, args []byte) (any, error) { return json.RawMessage(args), nil }},
	}}
	path := serve(t, s)
	fmt.Fprintln(dial(t, path), `{"verb":"big"}`)
	<-began
	worksInTheEnd(t, path)
}

// TestThousand: a thousand idle clients keep nobody out.
func TestThousand(t *testing.T) {
	path := serve(t, &Server{})
	for range 1000 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	works(t, path)
}

// TestManyAtWork: clients that ask at the same time are all answered.
func TestManyAtWork(t *testing.T) {
	path := serve(t, &Server{})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 20 {
				works(t, path)
			}
		})
	}
	all.Wait()
}

// TestBusy: when all that there may be are at work the next one is told so.
func TestBusy(t *testing.T) {
	release, began := make(chan struct{}), make(chan struct{}, 2)
	s := &Server{Limits: Limits{Clients: 2}, Verbs: map[string]Verb{"wait": {Do: func(context.Context, Peer, []byte) (any, error) {
		began <- struct{}{}
		<-release
		return 1, nil
	}}}}
	path := serve(t, s)
	t.Cleanup(func() { close(release) })
	for range 2 {
		fmt.Fprintln(dial(t, path), `{"verb":"wait"}`)
		<-began
	}
	for end := time.Now().Add(30 * time.Second); ; {
		line, _ := bufio.NewReader(dial(t, path)).ReadString('\n')
		if strings.Contains(line, `"busy"`) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%q", line)
		}
	}
}

// works asserts that a client is answered.
func works(t *testing.T, path string) {
	t.Helper()
	if err := ask(t, path); err != nil {
		t.Error(err)
	}
}

// worksInTheEnd is works for a server whose limits are so short that a client on
// a busy machine may be cut off, too.
func worksInTheEnd(t *testing.T, path string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		err := ask(t, path)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func ask(t *testing.T, path string) error {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := Dial(ctx, path)
	if err != nil {
		return err
	}
	defer c.Close()
	var got struct{ A int }
	if err := c.Do(ctx, "echo", map[string]int{"a": 7}, &got); err != nil || got.A != 7 {
		return fmt.Errorf("%v, %w", got, err)
	}
	return nil
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"id":1,"verb":"status"}`, `{"verb":"x","args":{"a":1}}`, `{}`, `[`, "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := parse(line)
		if err != nil {
			return
		}
		b, err := json.Marshal(Response{ID: r.ID})
		if err != nil || !json.Valid(b) {
			t.Errorf("%q: %s, %v", line, b, err)
		}
	})
}
