package oracle

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// TestKernelDNS: names that only DNS knows. The installed goipvs has no package
// net, so it asks by way of goipvs-verbs.
func TestKernelDNS(t *testing.T) {
	k := dial(t)
	k.restore(t, "-C\n")
	questions := serveDNS(t)
	ours := newStage(t).ours(t)
	put(t, "../../bin/goipvs-verbs", ours.root, "sbin/goipvs-verbs", 0o755) // make bin/goipvs
	write(t, ours.root, "etc/resolv.conf", "nameserver 127.0.0.1\n", 0o644)
	write(t, ours.root, "etc/nsswitch.conf", "hosts: files dns\n", 0o644)
	for _, c := range []struct {
		args   string
		stdin  string
		exit   int
		stdout string // a part
		stderr string // a part
	}{
		{args: "-A -t only.example.com:http"},
		{args: "-A -t [only.example.com]:http"},
		{args: "-R", stdin: strings.Repeat("-a -t only.example.com:http -r only.example.com:http -m\n-d -t 10.0.0.77:80 -r 10.0.0.77:80\n", 3)},
		{args: "-R", stdin: "-a -t 10.0.0.77:80 -r vip -m\n-a -t 10.0.0.77:80 -r 10.0.0.98 -m\n"}, // in the hosts file
		{args: "-L", stdout: "TCP  only.example.com:http wlc\n  -> vip.example.com:http         Masq    1      0          0         \n  -> 10.0.0.98:http "},
		{args: "-S", stdout: "-A -t [six.example.com]:http -s wlc\n"},
		{args: "-Ln", stdout: "TCP  10.0.0.77:80 wlc\n"},
		{args: "-A -t not.example.com:http", exit: 2, stderr: "no such host"},
	} {
		before := questions.Load()
		a := ours.run(t, c.stdin, strings.Fields(c.args)...)
		if a.Exit != c.exit || !strings.Contains(a.Stdout, c.stdout) || !strings.Contains(a.Stderr, c.stderr) || (c.stderr == "") != (a.Stderr == "") {
			t.Errorf("%s: %+v", c.args, a)
		}
		if asked := questions.Load() > before; asked != (c.args != "-Ln" && !strings.Contains(c.stdin, "vip")) {
			t.Errorf("%s: asked DNS: %v", c.args, asked)
		}
	}

	must(t, os.Remove(filepath.Join(ours.root, "sbin/goipvs-verbs")))
	if a := ours.run(t, "", "-L"); a.Exit != 0 || a.Stderr != "" || !strings.Contains(a.Stdout, "TCP  10.0.0.77:http wlc\n  -> vip.example.com:http ") {
		t.Errorf("without goipvs-verbs: %+v", a)
	}
	if a := ours.run(t, "", "-A", "-t", "only.example.com:80"); a.Exit != 2 || !strings.Contains(a.Stderr, "start goipvs-verbs: ") {
		t.Errorf("without goipvs-verbs: %+v", a)
	}
}

// Names as they are in packets.
var (
	only = []byte("\x04only\x07example\x03com\x00")
	six  = []byte("\x03six\x07example\x03com\x00")
	ptr4 = []byte("\x0277\x010\x010\x0210\x07in-addr\x04arpa\x00")
	ptr6 = []byte("\x019\x019" + strings.Repeat("\x010", 22) + "\x018\x01b\x01d\x010\x011\x010\x010\x012\x03ip6\x04arpa\x00")
	zone = []struct {
		name  []byte
		kind  byte
		value []byte
	}{
		{only, 1, []byte{10, 0, 0, 77}},
		{only, 28, []byte("\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x99")},
		{ptr4, 12, only},
		{ptr6, 12, six},
	}
)

// serveDNS answers on the loopback interface until the test ends.
func serveDNS(t *testing.T) *atomic.Int32 {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:53")
	must(t, err)
	t.Cleanup(func() { c.Close() })
	questions := new(atomic.Int32)
	go func() {
		for b := make([]byte, 512); ; {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			questions.Add(1)
			_, _ = c.WriteTo(reply(b[:n]), from) // who asks asks again
		}
	}()
	return questions
}

// reply answers the one question of a packet (RFC 1035, section 4.1).
func reply(q []byte) []byte {
	end := 12 + bytes.IndexByte(q[12:], 0) + 1 + 4
	for _, a := range zone {
		if bytes.Equal(q[12:end-4], a.name) && q[end-3] == a.kind {
			r := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}, q[12:end]...)
			r = append(r, 0xc0, 12, 0, a.kind, 0, 1, 0, 0, 0, 60, 0, byte(len(a.value)))
			return append(r, a.value...)
		}
	}
	return append([]byte{q[0], q[1], 0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end]...) // no such name
}
