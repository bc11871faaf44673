package healthcheck

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/testserver"
)

// serverName is in the certificates of all test servers.
const serverName = "server.goipvs.test"

// row is a state in one line.
func row(name string, c Check, port uint16, want string) state {
	return state{name: name, check: c, port: port, want: want}
}

// examine makes the checks of all states at once.
func examine(t *testing.T, states ...state) {
	t.Helper()
	for _, s := range states {
		t.Run(s.check.Type+" "+s.name, func(t *testing.T) {
			t.Parallel()
			judgeState(t, s, lookAt(t, s.check, loopback(s.port)))
		})
	}
}

// freeze stops a server in the middle of its work. The kernel goes on taking
// connections for it; the check must not wait longer than it may.
func freeze(t *testing.T, server *testserver.Process, s state) {
	t.Helper()
	server.Freeze()
	defer server.Thaw()
	for in := time.Second / 2; ; in *= 4 { // a busy machine may not have come to ask in less
		res, err := Look(within(t, in), s.check, loopback(s.port))
		if err != nil {
			t.Fatal(err)
		}
		if res.Err != nil && strings.Contains(res.Err.Error(), s.want) || in > patient {
			judgeState(t, s, res)
			break
		}
	}
	server.Thaw()
	s.want = ""
	judgeState(t, s, lookAt(t, s.check, loopback(s.port)))
}

// with is the check with one thing changed.
func with(c Check, change func(*Check)) Check {
	change(&c)
	return c
}

// downState is a server that is not there.
func downState(t *testing.T, c Check) state {
	return row("down", c, testserver.Port(t), "connection refused")
}

// certificates are what a server may show: a good one, and an expired one.
type certificates struct {
	authority     *testserver.Authority
	good, expired testserver.Certificate
}

func newCertificates(t *testing.T) certificates {
	t.Helper()
	a := testserver.NewAuthority(t)
	return certificates{a, a.Issue(t, time.Time{}, serverName), a.Issue(t, time.Now().AddDate(0, 0, -1), serverName)}
}

// trust is the check with TLS of this mode, as it should be set up.
func (c certificates) trust(check Check, mode string) Check {
	check.TLS = TLS{Mode: mode, CAFile: c.authority.File, ServerName: serverName}
	return check
}

// states are what TLS can do to a check: trusting is one as it should be set
// up, good and expired the ports where the server shows these certificates.
func (c certificates) states(trusting Check, good, expired uint16) []state {
	named := func(name string) Check { return with(trusting, func(c *Check) { c.TLS.ServerName = name }) }
	untold := with(trusting, func(c *Check) { c.TLS.CAFile = "" })
	blind := with(trusting, func(c *Check) { c.TLS = TLS{Mode: c.TLS.Mode, Insecure: true} })
	return []state{
		row("TLS", trusting, good, ""),
		row("TLS name wrong", named("other.goipvs.test"), good, "certificate is valid for "+serverName),
		row("TLS authority unknown", untold, good, "certificate signed by unknown authority"),
		row("TLS certificate expired", trusting, expired, "certificate has expired"),
		{name: "TLS certificate not looked at", check: blind, port: expired, warn: "expire"},
	}
}

// loopbackVIP is the address that some servers announce instead of their own.
var loopbackVIP = netip.MustParseAddrPort("198.51.100.7:21")
