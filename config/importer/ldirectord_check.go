package importer

import (
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/ipvs"
)

// ldTypes are the services of a negotiate check as types of check.
var ldTypes = map[string]string{
	"http": "http", "https": "https", "http_proxy": "http_proxy", "smtp": "smtp", "submission": "submission", "pop": "pop3", "pops": "pop3s",
	"imap": "imap", "imaps": "imaps", "ftp": "ftp", "ldap": "ldap", "ldaps": "ldaps", "nntp": "nntp", "dns": "dns", "radius": "radius",
	"mysql": "mysql", "pgsql": "pgsql", "oracle": "oracle", "sip": "sip", "simpletcp": "tcp", "none": "on",
}

// ldPorts are the services by the virtual port, where none is given.
var ldPorts = map[uint16]string{
	21: "ftp", 25: "smtp", 53: "dns", 80: "http", 110: "pop", 119: "nntp", 143: "imap", 389: "ldap", 443: "https", 587: "submission", 636: "ldaps",
	993: "imaps", 995: "pops", 1521: "oracle", 1812: "radius", 3128: "http_proxy", 3306: "mysql", 5060: "sip", 5432: "pgsql",
}

// ldPort is the service's own port: of a service of a firewall mark the check
// has no other.
func ldPort(service string) uint16 {
	for p, s := range ldPorts {
		if s == service {
			return p
		}
	}
	return 0
}

func (l *ldirectord) checks(v *ldVirtual) []config.Check {
	return l.checksOf(v, v.get("request"), v.get("receive"))
}

// checksOf are the checks with that request and receive: those of the service,
// or of a real server that has its own.
func (l *ldirectord) checksOf(v *ldVirtual, request, receive directive) []config.Check {
	d := v.get("checktype")
	typ := strings.ToLower(d.value)
	if typ == "" {
		typ = "negotiate"
	}
	if strings.ContainsAny(typ, "0123456789") { // connect2 is 2 to ldirectord
		return l.combined(v, d, request, receive)
	}
	switch typ {
	case "negotiate":
		return []config.Check{l.negotiate(v, request, receive)}
	case "connect":
		return []config.Check{l.connect(v)}
	case "ping":
		c := l.newCheck(v, "ping", l.connectTimeout(v))
		n := l.number(v.get("checkcount"), l.number(l.global.get("checkcount"), 1))
		c.Fall = min(max(n, 1)*c.Fall, 1000)
		return []config.Check{c}
	case "on", "off":
		return []config.Check{l.newCheck(v, typ, 5*time.Second)}
	case "external", "external-perl":
		return []config.Check{l.external(v, typ)}
	}
	l.lose(d.place, "checktype: %s has no like: %s", clip(d.value), instead(v))
	return []config.Check{l.connect(v)}
}

// combined is N connects for each negotiation, as two checks that both must
// pass.
func (l *ldirectord) combined(v *ldVirtual, d, request, receive directive) []config.Check {
	n := l.number(d, 0)
	negotiate := l.negotiate(v, request, receive)
	if n == 0 {
		return []config.Check{negotiate}
	}
	connect := l.connect(v)
	negotiate.Interval = min(negotiate.Interval*time.Duration(min(n, 86400)+1), 24*time.Hour)
	negotiate.FastInterval = connect.Interval
	return []config.Check{connect, negotiate}
}

// newCheck has the timing of the service. The interval of a service of its own
// counts in ldirectord with fork=yes only; it is what is meant.
func (l *ldirectord) newCheck(v *ldVirtual, typ string, timeout time.Duration) config.Check {
	t := l.cfg.Check
	t.Timeout = timeout
	if d := v.get("checkinterval"); d.known() {
		t.Interval = l.seconds(d, 10)
	}
	if d := v.get("failurecount"); d.known() {
		t.Fall = l.failures(d)
	}
	c := config.NewCheck(typ, t)
	if d := v.get("checkport"); d.known() && typ != "ping" && typ != "external" && typ != "on" && typ != "off" {
		p, err := l.port(d.value, v.Service.Protocol)
		if err != nil {
			l.lose(d.place, "checkport: %v", err)
		}
		c.Port = p
	}
	return c
}

// connectTimeout is that of checks that only reach a server, negotiateTimeout
// that of the others: each is the other's default.
func (l *ldirectord) connectTimeout(v *ldVirtual) time.Duration {
	return l.timeout(v, 5, "checktimeout", "negotiatetimeout")
}

func (l *ldirectord) negotiateTimeout(v *ldVirtual) time.Duration {
	return l.timeout(v, 30, "negotiatetimeout", "checktimeout")
}

func (l *ldirectord) timeout(v *ldVirtual, def int, names ...string) time.Duration {
	for _, s := range []*section{&v.section, &l.global} {
		for _, n := range names {
			if d := s.get(n); d.known() {
				return min(l.seconds(d, def), time.Hour)
			}
		}
	}
	return time.Duration(def) * time.Second
}

// instead says what connect does.
func instead(v *ldVirtual) string {
	if v.Service.FWMark == 0 && v.Service.Protocol == ipvs.UDP {
		return "the check only pings"
	}
	return "the check only connects"
}

func (l *ldirectord) connect(v *ldVirtual) config.Check {
	if v.Service.FWMark == 0 && v.Service.Protocol == ipvs.UDP {
		return l.newCheck(v, "ping", l.connectTimeout(v)) // as ldirectord does
	}
	c := l.newCheck(v, "connect", l.connectTimeout(v))
	if c.Port == 0 && v.Port() == 0 {
		if c.Port = ldPort(l.serviceName(v)); c.Port == 0 && !l.allHavePorts(v) {
			l.lose(v.head.place, "%s: the check has no port to go to: it pings", v.head.name)
			return l.newCheck(v, "ping", l.connectTimeout(v))
		}
	}
	return c
}

// allHavePorts: ports of real servers will do for a service without one.
func (l *ldirectord) allHavePorts(v *ldVirtual) bool {
	for _, d := range v.reals {
		w := realWords(d.value)
		if len(w) == 0 {
			continue
		}
		if _, _, ok := cutPort(w[0]); !ok {
			return false
		}
	}
	return true
}

// external runs the command; of Perl it is a file that ldirectord runs within
// itself, with the same arguments and statuses.
func (l *ldirectord) external(v *ldVirtual, typ string) config.Check {
	c := l.newCheck(v, "external", l.connectTimeout(v))
	switch c.Command = l.command(v.get("checkcommand")); {
	case len(c.Command) == 0:
		c.Command = []string{"/bin/true"} // ldirectord's default
	case typ == "external-perl":
		c.Command = append([]string{"/usr/bin/perl"}, c.Command...)
	}
	return c
}

func (l *ldirectord) serviceName(v *ldVirtual) string {
	if d := v.get("service"); d.known() {
		return strings.ToLower(d.value)
	}
	if s, ok := ldPorts[v.Port()]; ok {
		return s
	}
	return "none"
}

func (l *ldirectord) negotiate(v *ldVirtual, request, receive directive) config.Check {
	service := l.serviceName(v)
	typ, ok := ldTypes[service]
	if !ok {
		l.lose(v.get("service").place, "service: %s has no check: %s", clip(service), instead(v))
		return l.connect(v)
	}
	if typ == "on" {
		return l.newCheck(v, typ, 5*time.Second)
	}
	timeout := l.negotiateTimeout(v)
	if typ == "ldap" || typ == "ldaps" || typ == "radius" {
		timeout = l.connectTimeout(v)
	}
	c := l.newCheck(v, typ, timeout)
	n := negotiation{l, v, &c, request, receive}
	if lacking := n.fill(); lacking != "" {
		l.lose(v.head.place, "%s: a %s check needs %s: %s", v.head.name, typ, lacking, instead(v))
		return l.connect(v)
	}
	return c
}

// negotiation is a negotiate check while it is filled.
type negotiation struct {
	l                *ldirectord
	v                *ldVirtual
	c                *config.Check
	request, receive directive
}

// fill sets what the type takes, and tells what it lacks.
func (n *negotiation) fill() (lacking string) {
	c := n.c
	n.expect()
	bare := strings.TrimPrefix(n.request.value, "/")
	switch c.Type {
	case "http", "https":
		c.Request, c.Follow = "/"+bare, 3
		n.http()
	case "http_proxy":
		c.Request = bare
		n.http()
		c.VirtualHost = "" // ldirectord does not send it to a proxy either
		if !strings.Contains(bare, "://") {
			return "a URL as request"
		}
	case "tcp":
		c.Request = strings.ReplaceAll(bare, `\n`, "\n")
	case "dns":
		if c.Request = bare; bare == "" {
			return "a request"
		}
		if _, err := netip.ParseAddr(bare); err == nil {
			c.Record = "PTR"
		}
	case "ldap", "ldaps", "ftp", "nntp":
		if c.Request = bare; bare == "" {
			c.Receive = "" // there is nothing to read
		}
		n.login()
	case "mysql", "pgsql":
		c.Request, c.Database = bare, n.v.get("database").value
		if n.login(); c.Login == "" {
			return "a login"
		}
	case "oracle":
		c.Database = n.v.get("database").value
		if d := n.v.get("request"); d.known() {
			n.l.lose(d.place, "request: of Oracle only the listener is asked; checktype external can do more")
		}
	case "radius":
		n.login()
		if c.Secret = config.Secret(n.v.get("secret").value); c.Secret == "" || c.Login == "" || c.Password == "" {
			return "login, passwd and secret"
		}
	case "sip":
		c.Login = n.v.get("login").value
	case "pop3", "pop3s", "imap", "imaps":
		n.login()
	}
	return ""
}

// login takes login and passwd. Of FTP's anonymous user a password is made up,
// here as in ldirectord; others need one, but with SQL.
func (n *negotiation) login() {
	login, passwd := n.v.get("login"), n.v.get("passwd")
	sql := n.c.Type == "mysql" || n.c.Type == "pgsql"
	switch {
	case login.value == "" && passwd.value != "":
		n.l.lose(passwd.place, "passwd: says nothing without login")
	case login.value == "anonymous" && passwd.value == "" && n.c.Type == "ftp":
	case passwd.value == "" && login.value != "" && !sql:
		n.l.lose(login.place, "login: without passwd there is no logging in: left out")
	case login.value != "":
		n.c.Login, n.c.Password = login.value, config.Secret(passwd.value)
	}
}

// expect takes the receive expression where the type has one.
func (n *negotiation) expect() {
	d := n.receive
	if d.value == "" {
		return
	}
	switch n.c.Type {
	case "smtp", "submission", "pop3", "pop3s", "imap", "imaps", "nntp", "radius", "sip", "oracle", "mysql", "pgsql", "on":
		return // ldirectord does not look at it either
	}
	if _, err := regexp.Compile(d.value); err != nil {
		n.l.lose(d.place, "receive: RE2 has no such expression as %s: any answer will do", clip(d.value))
		return
	}
	n.c.Receive = d.value
}

func (n *negotiation) http() {
	if d := n.v.get("httpmethod"); d.known() {
		if m := strings.ToUpper(d.value); m == "GET" || m == "HEAD" {
			if n.c.Method = m; m == "HEAD" && n.c.Receive != "" {
				n.l.lose(n.receive.place, "receive: an answer to HEAD has nothing that could match: any will do")
				n.c.Receive = ""
			}
		} else {
			n.l.lose(d.place, "httpmethod: %s is neither GET nor HEAD", clip(d.value))
		}
	}
	if d := n.v.get("virtualhost"); d.known() && d.value != "" {
		if strings.ContainsAny(d.value, "/\\@") || !isASCII(d.value) {
			n.l.lose(d.place, "virtualhost: %s is no host", clip(d.value))
		} else {
			n.c.VirtualHost = d.value
		}
	}
	if n.c.Type == "https" {
		n.c.Verify = false
		p := n.v.get("service").place
		if p.line == 0 {
			p = n.v.head.place
		}
		n.l.lose(p, "https: ldirectord verifies who signed a certificate, but no name; here nothing is verified until verify = false is taken out")
	}
}
