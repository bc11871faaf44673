package healthcheck

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/evil"
	"github.com/goipvs/goipvs/internal/testserver"
)

// TestTCP: what a server answers in which pieces, and what is enough.
func TestTCP(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		serve  func(net.Conn)
		check  Check
		within time.Duration
		want   string
	}{
		{name: "connects", serve: func(net.Conn) {}},
		{name: "greeting", serve: says("220 ready\r\n"), check: Check{Receive: "^220 "}},
		{name: "match at the very end of what came", serve: says("OK"), check: Check{Receive: "OK$"}},
		{name: "answer to the request", serve: echo1, check: Check{Request: "PING\n", Receive: "^PING\n$"}},
		{name: "any answer", serve: echo1, check: Check{Request: "x"}},
		{name: "bytes", serve: echo1, check: Check{Request: "hex:00 01 ff", Receive: "hex:0x01fx"}},
		{name: "wrong bytes", serve: echo1, check: Check{Request: "hex:0001ff", Receive: "hex:0002"}, within: time.Second, want: `timed out: the answer does not match "hex:0002": "\x00\x01\xff"`},
		{name: "in pieces", serve: pieces("one ", "two ", "three"), check: Check{Receive: "one two three"}},
		{name: "closes without a word", serve: func(c net.Conn) { c.Read(make([]byte, 10)) }, check: Check{Request: "x"}, want: "no answer: the server closed"},
		{name: "wrong answer, then closed", serve: says("500 no"), check: Check{Receive: "^220"}, want: `does not match "^220": "500 no"`},
		{name: "wrong answer", serve: pieces("500 no", "\n", "hold"), check: Check{Receive: "^220"}, within: time.Second, want: "timed out: the answer does not match"},
		{name: "much before the match", serve: says(strings.Repeat("x", 60<<10) + "end"), check: Check{Receive: "end"}},
		{name: "too much before the match", serve: says(strings.Repeat("x", 70<<10) + "end"), check: Check{Receive: "end"}, want: "no match in its first 64 KiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr, stop := evil.Serve(t, evil.Behaviour{Serve: test.serve})
			defer stop()
			test.check.Type = "tcp"
			probe, err := New(test.check, Target{Real: addr})
			if err != nil {
				t.Fatal(err)
			}
			judgeState(t, state{want: test.want}, inTheEnd(t, probe, test.within, test.want))
		})
	}
}

// inTheEnd makes a check that must go as wanted, and if it is to time out, has
// only a little time: more and more of it, until what came was heard of also on
// a busy machine.
func inTheEnd(t *testing.T, probe Probe, in time.Duration, want string) Result {
	t.Helper()
	for in = or(in, patient); ; in *= 4 {
		if err := probe(within(t, in)); in >= patient || err != nil && strings.Contains(err.Error(), want) {
			return Result{Err: err}
		}
	}
}

func says(text string) func(net.Conn) {
	return func(c net.Conn) { io.WriteString(c, text) }
}

func pieces(texts ...string) func(net.Conn) {
	return func(c net.Conn) {
		for _, text := range texts {
			if text == "hold" {
				c.Read(make([]byte, 1))
				return
			}
			io.WriteString(c, text)
			time.Sleep(5 * time.Millisecond) // so that it goes in packets of its own
		}
	}
}

func echo1(c net.Conn) { io.Copy(c, c) }

func TestUDP(t *testing.T) {
	t.Parallel()
	answer := func(texts ...string) evil.Reply {
		return evil.Reply{Answer: func(_ []byte, send func([]byte)) {
			for _, text := range texts {
				send([]byte(text))
			}
		}}
	}
	for _, test := range []struct {
		name   string
		reply  evil.Reply
		check  Check
		within time.Duration
		want   string
	}{
		{name: "answer", reply: answer("pong"), check: Check{Request: "ping", Receive: "^pong$"}},
		{name: "others pass", reply: answer("noise", "", "pong"), check: Check{Request: "ping", Receive: "^pong$"}},
		{name: "wrong answer", reply: answer("noise"), check: Check{Request: "ping", Receive: "^pong$"}, within: time.Second, want: `timed out: the answer does not match "^pong$": "noise"`},
		{name: "silent", reply: answer(), check: Check{Request: "ping", Receive: "^pong$"}, within: time.Second, want: "timed out waiting for an answer"},
		{name: "silent, and nothing expected", reply: answer(), check: Check{Request: "ping"}},
		{name: "anything, and nothing expected", reply: answer("x"), check: Check{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr, stop := evil.ServeUDP(t, test.reply)
			defer stop()
			test.check.Type = "udp"
			probe, err := New(test.check, Target{Real: addr})
			if err != nil {
				t.Fatal(err)
			}
			judgeState(t, state{want: test.want}, inTheEnd(t, probe, test.within, test.want))
		})
	}
	closed := testserver.Port(t)
	state{name: "closed", check: Check{Type: "udp", Request: "x"}, port: closed, want: "connection refused"}.test(t)
	state{name: "closed, answer expected", check: Check{Type: "udp", Request: "x", Receive: "y"}, port: closed, want: "connection refused"}.test(t)
}
