package director

import (
	"slices"
	"strings"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/healthcheck"
	"github.com/goipvs/goipvs/ipvs"
)

// convert says in healthcheck's words what the file says of a check of a server,
// at a port and perhaps of a name.
func convert(c *config.Check, port uint16, name string) healthcheck.Check {
	h := healthcheck.Check{
		Type: c.Type, Port: c.Port, Request: c.Request, Receive: c.Receive,
		Status: c.Status, VirtualHost: c.VirtualHost, Method: c.Method + c.Record, // no type has both
		Login: c.Login, Password: c.Password.Reveal(), Database: c.Database, Secret: c.Secret.Reveal(), Signed: c.RequireMessageAuthenticator,
		Command: c.Command, Bare: c.Type == "external" && !c.Arguments, Weighs: c.DynamicWeight, Follow: c.Follow,
	}
	if c.Type == "http_proxy" && !strings.Contains(c.Request, "://") { // HOST:PORT is connected to and asked for no page
		def := config.NewCheck(c.Type, c.Timing)
		if h.Status == def.Status {
			h.Status = ""
		}
		if h.Method == def.Method {
			h.Method = ""
		}
	}
	if h.Port == 0 && port == 0 {
		h.Port = c.TargetPort(0)
	}
	if c.Via == config.ViaPath {
		h.Via = healthcheck.ViaPath
	}
	h.Confine = healthcheck.Confinement{User: c.User, CPU: c.CPULimit, Memory: int64(c.MemoryLimit) << 20, Files: c.FileLimit}
	if h.TLS = convertTLS(c); c.TLS != "" && c.TLS != config.TLSOff && h.TLS.ServerName == "" && h.VirtualHost == "" {
		h.TLS.ServerName = name
	}
	return h
}

// protocol is the one that the check speaks, of types that speak two: the
// service's unless the file says otherwise.
func protocol(c *config.Check, s ipvs.ServiceKey) string {
	switch {
	case c.Type == "connect" && c.Protocol == "" && s.FWMark == 0 && s.Protocol == ipvs.SCTP:
		return "sctp"
	case c.Type == "connect", c.Protocol != "" || !slices.Contains(typeOf(c.Type).Keys, "protocol"):
		return c.Protocol
	case c.TLS == config.TLSOn, s.FWMark == 0 && s.Protocol == ipvs.TCP:
		return "tcp"
	}
	return ""
}

// convertTLS names the mode only where it is not what the type does by itself.
// A type without one speaks TLS, if it does, with whom a proxy connects it to.
func convertTLS(c *config.Check) (t healthcheck.TLS) {
	usual := typeOf(c.Type).TLS
	switch c.TLS {
	case "":
		if !c.BeyondProxy() {
			return t
		}
	case config.TLSOff:
		if usual != config.TLSOff {
			t.Mode = "off"
		}
		return t
	case config.TLSOn:
		if usual != config.TLSOn {
			t.Mode = "on"
		}
	case config.TLSStart:
		t.Mode = "starttls"
	}
	t.ServerName, t.CAFile, t.CertFile, t.KeyFile, t.Insecure = c.ServerName, c.CA, c.Cert, c.Key, !c.Verify
	if t.Warn = c.ExpiryWarning; t.Warn == 0 {
		t.Warn = -1
	}
	return t
}

func typeOf(name string) config.CheckType {
	for _, t := range config.CheckTypes() {
		if t.Name == name {
			return t
		}
	}
	return config.CheckType{}
}
