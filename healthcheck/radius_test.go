package healthcheck

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/testserver"
	goradius "layeh.com/radius"
)

// startFreeRADIUS runs a server that knows user monitor and takes only
// requests with a Message-Authenticator.
func startFreeRADIUS(t *testing.T) uint16 {
	port := testserver.Port(t)
	dir := testserver.Dir(t, map[string]string{
		"users": "signed Cleartext-Password := \"watchword\"\n\tMessage-Authenticator := 0x00\nmonitor Cleartext-Password := \"watchword\"\nDEFAULT Auth-Type := Reject\n\tReply-Message = \"go away\"\n",
	})
	testserver.Write(t, dir+"/radiusd.conf", strings.NewReplacer("DIR", dir, "PORT", fmt.Sprint(port)).Replace(`
prefix = /usr
raddbdir = DIR
logdir = DIR
run_dir = DIR
libdir = /usr/lib/freeradius
security {
  reject_delay = 0
  status_server = yes
}
thread pool {
  start_servers = 1
  max_servers = 4
  min_spare_servers = 1
  max_spare_servers = 2
}
client local {
  ipaddr = 127.0.0.1
  secret = shared
  require_message_authenticator = yes
}
modules {
  pap {
  }
  files {
    filename = DIR/users
  }
}
server default {
  listen {
    type = auth
    ipaddr = 127.0.0.1
    port = PORT
  }
  authorize {
    files
    pap
  }
  authenticate {
    Auth-Type PAP {
      pap
    }
  }
}
`))
	p := testserver.Start(t, testserver.Program{Path: "freeradius", Args: []string{"-d", dir, "-f", "-l", "stdout"}})
	p.Await(func() error {
		if !strings.Contains(p.Output(), "Ready to process requests") {
			return fmt.Errorf("not yet ready")
		}
		return nil
	})
	return port
}

func TestRADIUS(t *testing.T) {
	t.Parallel()
	testserver.Need(t, "freeradius")
	port := startFreeRADIUS(t)
	login := Check{Type: "radius", Login: "monitor", Password: "watchword", Secret: "shared"}
	status := Check{Type: "radius", Secret: "shared"}
	examine(t,
		row("up", login, port, ""),
		downState(t, login),
		row("status", status, port, ""),
		row("wrong password", with(login, func(c *Check) { c.Password = "wrong" }), port, "radius login monitor: Access-Reject"),
		row("wrong user", with(login, func(c *Check) { c.Login = "nobody" }), port, "radius login nobody: Access-Reject (go away)"),
	)
	// Debian's server signs the answers that it is told to, and no others.
	examine(t, row("signed, and has to be", with(login, func(c *Check) { c.Login, c.Signed = "signed", true }), port, ""))
	t.Run("not signed, and has to be", func(t *testing.T) {
		var err error
		for d := 2 * time.Second; ; d *= 2 { // a busy machine may not have answered by then
			res, wrong := Look(within(t, d), with(login, func(c *Check) { c.Signed = true }), loopback(port))
			if wrong != nil {
				t.Fatal(wrong)
			}
			if err = res.Err; err == nil || strings.Contains(err.Error(), "there was one without") || d > time.Minute {
				break
			}
		}
		if Class(err) != "timeout" || !strings.Contains(err.Error(), "timed out waiting for an answer with a Message-Authenticator (there was one without)") {
			t.Errorf("%v (%s)", err, Class(err))
		}
	})
	t.Run("wrong secret", func(t *testing.T) {
		res, err := Look(within(t, 2*time.Second), with(login, func(c *Check) { c.Secret = "guessed" }), loopback(port))
		if err != nil {
			t.Fatal(err)
		}
		judgeState(t, row("", login, port, "timed out waiting for an answer (a RADIUS server ignores clients it does not know, and a wrong secret)"), res)
	})
}

// TestRADIUSForged: an answer that somebody without the secret made, or
// changed, is none.
func TestRADIUSForged(t *testing.T) {
	secret := []byte("shared")
	request, err := radiusCheck{login: "monitor", password: "watchword", secret: "shared"}.request(addrOf("127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	good := radiusReply(t, request, secret)
	if _, err := readRADIUS(good, request, secret); err != nil {
		t.Fatalf("a good answer: %v", err)
	}
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 1
		if a, err := readRADIUS(bad, request, secret); err == nil {
			t.Errorf("taken for good with byte %d changed: %v", i, a.Code)
		}
	}
	if _, err := readRADIUS(radiusReply(t, request, []byte("guessed")), request, secret); err == nil {
		t.Error("made with another secret, and taken for good")
	}
}

// radiusReply makes an Access-Accept as a server does.
func radiusReply(t testing.TB, request, secret []byte) []byte {
	t.Helper()
	p, err := goradius.Parse(request, secret)
	if err != nil {
		t.Fatal(err)
	}
	p = p.Response(goradius.CodeAccessAccept)
	p.Add(80, make(goradius.Attribute, 16))
	wire, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	p.Attributes[0].Attribute = macOf(wire, secret)
	if wire, err = p.Encode(); err != nil {
		t.Fatal(err)
	}
	return wire
}

func FuzzRADIUS(f *testing.F) {
	secret := []byte("shared")
	request, err := radiusCheck{login: "monitor", password: "watchword", secret: "shared"}.request(addrOf("127.0.0.1:1"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(radiusReply(f, request, secret))
	f.Add([]byte{2, 0, 0, 20})
	f.Fuzz(func(t *testing.T, wire []byte) {
		answer, err := readRADIUS(wire, request, secret)
		if err == nil && answer.Identifier != request[1] {
			t.Error("an answer to another request")
		}
	})
}
