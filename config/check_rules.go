package config

import (
	"slices"
	"strings"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// Types by what their protocol can do: begin TLS by a command; begin TLS in no
// other way; and log in with name and password only.
var (
	startTLS   = words("smtp submission pop3 imap ftp nntp ldap mysql pgsql")
	onlyStart  = words("mysql pgsql")
	wholeLogin = words("smtp submission pop3 pop3s imap imaps ftp nntp ldap ldaps radius redis")
)

// checkRules report what does not go together in a check.
type checkRules struct {
	*reader
	table *table
	of    *CheckType
	check *Check
}

// at is the line of a key, 0 for one that is not there or is another table's.
func (r *checkRules) at(key string) int { return max(r.table.at[key].line, 0) }

// line is the line of a key, or of the table.
func (r *checkRules) line(key string) int {
	if l := r.at(key); l != 0 {
		return l
	}
	return r.table.line
}

// is tells whether the check is of one of the types.
func (r *checkRules) is(types string) bool { return slices.Contains(words(types), r.of.Name) }

func (r *checkRules) all(v *Virtual) {
	r.tls()
	if connects := r.is("connect"); connects && r.check.Protocol == "udp" || !connects && r.check.Protocol == "sctp" {
		r.problem(r.line("protocol"), "", "protocol: %s does not speak %s", r.of.Name, r.check.Protocol)
	}
	if r.is("external") && len(r.check.Command) > 0 {
		r.program(r.line("command"), "command", r.check.Command)
	}
	if r.check.CPULimit%time.Second != 0 {
		r.problem(r.line("cpu_limit"), "", "cpu_limit: %s is not whole seconds", FormatDuration(r.check.CPULimit))
	}
	r.texts()
	r.sayable(r.of, r.check, r.line)
	if r.check.Via == ViaPath && v.Forward == ipvs.FullNAT {
		r.problem(r.line("via"), "", "via: with full NAT servers do not have the VIP, and there is nothing to prove")
	}
	if from, to := r.check.Source, r.check.Address; from.IsValid() && to.IsValid() && from.Is4() != to.Is4() {
		r.problem(r.line("source"), "", "source: %s cannot reach %s", from, to)
	}
	r.login()
}

func (r *checkRules) tls() {
	if r.check.TLS == TLSStart && !slices.Contains(startTLS, r.of.Name) {
		r.problem(r.line("tls"), `tls = "on"?`, "tls: %s has no command that starts TLS", r.of.Name)
	}
	if r.is("https pop3s imaps ldaps") && r.check.TLS != TLSOn {
		r.problem(r.line("tls"), "the type without the s can do without TLS", "tls: %s is TLS from the first byte", r.of.Name)
	}
	if r.check.TLS == TLSOn && slices.Contains(onlyStart, r.of.Name) {
		r.problem(r.line("tls"), `tls = "starttls"`, "tls: %s begins TLS by a message of its own", r.of.Name)
	}
	if (r.check.Cert == "") != (r.check.Key == "") {
		r.problem(max(r.at("cert"), r.at("key"), 1), "", "check: cert and key go together")
	}
	without, hint := r.check.TLS == TLSOff && r.of.TLS != "", `tls = "on" or "starttls"?`
	if r.is("http_proxy") {
		without, hint = without || !r.check.BeyondProxy(), "a request that begins with https:// has TLS"
	}
	for _, k := range []string{"server_name", "ca", "cert", "key"} {
		if l := r.at(k); l != 0 && without {
			r.problem(l, hint, "%s: says nothing without TLS", k)
		}
	}
}

// texts are what is sent and what has to come back.
func (r *checkRules) texts() {
	for _, k := range [][2]string{{"request", r.check.Request}, {"receive", r.check.Receive}} {
		if strings.HasPrefix(k[1], "hex:") && !r.is("tcp udp") {
			r.problem(r.line(k[0]), "", "%s: hex: is for tcp and udp", k[0])
		}
	}
	if r.check.Receive == "" {
		return
	}
	if strings.HasPrefix(r.check.Receive, "md5:") && !r.is("http https http2 http_proxy") {
		r.problem(r.line("receive"), "", "receive: md5: is for pages of HTTP")
	}
	if r.check.Method == "HEAD" { //nolint:usestdlibvars // not all of net/http for a word
		r.problem(r.line("receive"), `method = "GET"?`, "receive: an answer to HEAD has nothing that could match")
	}
	if r.check.Request == "" && r.is("ldap ldaps ftp") {
		r.problem(r.line("receive"), "", "receive: needs a request, what is read")
	}
}

func (r *checkRules) login() {
	if c := r.check; c.Login != "" {
		if c.Password == "" && c.PasswordFile == "" && slices.Contains(wholeLogin, r.of.Name) {
			r.problem(r.line("login"), "", "login: needs a password or password_file")
		}
		return
	}
	if r.check.Request != "" && r.is("imap imaps") {
		r.problem(r.line("request"), "", "request: a mailbox needs a login")
	}
	if len(r.check.Password) > 0 && !r.is("redis radius") && r.of.has("login") {
		r.problem(r.line("password"), "", "password: needs a login")
	}
}
