package config

import "strings"

// CheckType is a type of check: what its keys are, besides those that every
// check has (type, timing, address, port, source, via).
type CheckType struct {
	Name     string
	Port     uint16  // checked when neither the check nor the server has one; 0: none
	TLS      TLSMode // what tls is when it is not given; empty: the type has no TLS
	Keys     []string
	Required []string // each may be alternatives: "password|password_file"
	Brief    string
}

// Groups of keys that several types have.
const (
	beyond    = "server_name verify ca cert key expiry_warning"
	tlsKeys   = "tls " + beyond
	loginKeys = "login password password_file"
	httpKeys  = "request receive status method virtualhost follow login password password_file"
)

var checkTypes = []CheckType{
	{"connect", 0, "", words("protocol"), nil, "a TCP connection opens; of an SCTP service an association"},
	{"ping", 0, "", words(""), nil, "an ICMP echo is answered"},
	{"http", 80, "", words(httpKeys), nil, "an HTTP answer with an accepted status"},
	{"https", 443, TLSOn, words(httpKeys, tlsKeys), nil, "the same over TLS"},
	{"http2", 443, TLSOn, words(httpKeys, tlsKeys), nil, "the same over HTTP/2"},
	{"http_proxy", 3128, "", words(httpKeys, beyond), words("request"), "a proxy answers for the URL in request; the keys of TLS are for https:// behind it"},
	{"grpc", 443, TLSOff, words("request virtualhost", tlsKeys), nil, "the gRPC health service says SERVING"},
	{"tcp", 0, TLSOff, words("request receive", tlsKeys), nil, "what is sent is answered as expected"},
	{"udp", 0, "", words("request receive"), nil, "what is sent is answered as expected"},
	{"dns", 53, "", words("request record receive protocol"), words("request"), "a question is answered"},
	{"smtp", 25, TLSOff, words("receive", loginKeys, tlsKeys), nil, "a mail server greets and takes EHLO, and the login if there is one"},
	{"submission", 587, TLSOff, words("receive", loginKeys, tlsKeys), nil, "the same of a server for users' mail"},
	{"pop3", 110, TLSOff, words("receive", loginKeys, tlsKeys), nil, "a POP3 server greets, and takes the login if there is one"},
	{"pop3s", 995, TLSOn, words("receive", loginKeys, tlsKeys), nil, "the same over TLS"},
	{"imap", 143, TLSOff, words("request receive", loginKeys, tlsKeys), nil, "an IMAP server greets, and takes the login and has the mailbox in request if there are any"},
	{"imaps", 993, TLSOn, words("request receive", loginKeys, tlsKeys), nil, "the same over TLS"},
	{"ftp", 21, TLSOff, words("request receive", loginKeys, tlsKeys), nil, "a login, and the file in request if there is one"},
	{"nntp", 119, TLSOff, words("request receive", loginKeys, tlsKeys), nil, "a news server greets, and has the group or article in request"},
	{"ldap", 389, TLSOff, words("request receive", loginKeys, tlsKeys), nil, "a bind, and the entry whose DN is in request"},
	{"ldaps", 636, TLSOn, words("request receive", loginKeys, tlsKeys), nil, "the same over TLS"},
	{"mysql", 3306, TLSOff, words("request receive database", loginKeys, tlsKeys), words("login"), "a login, and a row for the statement in request"},
	{"pgsql", 5432, TLSOff, words("request receive database", loginKeys, tlsKeys), words("login"), "a login, and a row for the statement in request"},
	{"redis", 6379, TLSOff, words("request receive database", loginKeys, tlsKeys), nil, "PING is answered, or the command in request"},
	{"radius", 1812, "", words("secret secret_file require_message_authenticator", loginKeys), words("secret|secret_file"), "an Access-Accept; without a login, an answer to Status-Server"},
	{"sip", 5060, TLSOff, words("request receive login protocol", tlsKeys), nil, "OPTIONS is answered with 2xx"},
	{"oracle", 1521, TLSOff, words("database", tlsKeys), nil, "a listener is there, and knows the service in database"},
	{"external", 0, "", words("command arguments dynamic_weight user cpu_limit memory_limit file_limit"), words("command"), "a command ends with status 0"},
	{"on", 0, "", nil, nil, "always up"},
	{"off", 0, "", nil, nil, "always down: the server gets no traffic"},
}

// CheckTypes are all types of checks. Callers must not change them.
func CheckTypes() []CheckType { return checkTypes }

func words(list ...string) (out []string) {
	for _, l := range list {
		out = append(out, strings.Fields(l)...)
	}
	return out
}

// specOf is the type of that name; of an unknown name it is the zero CheckType.
func specOf(name string) CheckType {
	for _, t := range checkTypes {
		if t.Name == name {
			return t
		}
	}
	return CheckType{}
}
