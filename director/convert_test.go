package director

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/healthcheck"
	"github.com/goipvs/goipvs/ipvs"
)

// TestCheckTypes: the file has the types that there are, and a key that the
// file takes for a type is one that the type reads.
func TestCheckTypes(t *testing.T) {
	have := map[string]bool{}
	for _, spec := range config.CheckTypes() {
		have[spec.Name] = true
		for _, key := range spec.Keys {
			c := config.Check{Type: spec.Name, Verify: true, TLS: spec.TLS}
			setKey(&c, key)
			h := convert(&c, 1, "")
			h.Protocol = c.Protocol
			if err := h.Validate(); err != nil && strings.Contains(err.Error(), "not used by this type") {
				t.Errorf("%s %s: %v", spec.Name, key, err)
			}
		}
	}
	for _, name := range healthcheck.Types() {
		if !have[name] {
			t.Errorf("the file has no type %s", name)
		}
		delete(have, name)
	}
	for name := range have {
		t.Errorf("there is no type %s", name)
	}
}

// setKey gives a key of the file a value.
func setKey(c *config.Check, key string) {
	texts := map[string]*string{
		"request": &c.Request, "receive": &c.Receive, "status": &c.Status, "method": &c.Method, "virtualhost": &c.VirtualHost,
		"login": &c.Login, "database": &c.Database, "record": &c.Record, "protocol": &c.Protocol, "server_name": &c.ServerName,
	}
	switch field := texts[key]; {
	case field != nil:
		*field = "tcp"
	case key == "password":
		c.Password = "x"
	case key == "secret":
		c.Secret = "x"
	case key == "command":
		c.Command = []string{"true"}
	case key == "follow":
		c.Follow = 1
	case key == "tls":
		c.TLS = config.TLSOn
	}
}

// TestProtocol: a check speaks its service's protocol unless it has its own.
func TestProtocol(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:53")
	tcp, udp, sctp := ipvs.AddrService(ipvs.TCP, at), ipvs.AddrService(ipvs.UDP, at), ipvs.AddrService(ipvs.SCTP, at)
	got := []string{
		protocol(&config.Check{Type: "dns"}, udp), protocol(&config.Check{Type: "dns"}, tcp),
		protocol(&config.Check{Type: "sip", Protocol: "udp"}, tcp), protocol(&config.Check{Type: "http"}, tcp),
		protocol(&config.Check{Type: "connect"}, sctp), protocol(&config.Check{Type: "connect", Protocol: "tcp"}, sctp), protocol(&config.Check{Type: "connect"}, tcp),
	}
	if diff := cmp.Diff([]string{"", "tcp", "udp", "", "sctp", "tcp", ""}, got); diff != "" {
		t.Error(diff)
	}
}
