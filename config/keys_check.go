package config

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// commonKeys are the keys of every type of check, beside timingKeys.
var commonKeys = []key[Check]{
	textKey("type", "", "What is checked; see the table of types.",
		func(c *Check) *string { return &c.Type }, checkType),
	addrKey("address", `""`, "Address that is checked in place of the real server's (keepalived's `connect_ip`).",
		func(c *Check) *netip.Addr { return &c.Address }),
	intKey("port", "0", "Port that is checked. 0: the real server's own, or that of the type.",
		func(c *Check) *uint16 { return &c.Port }, 0, 65535),
	addrKey("source", `""`, "Local address of the check, of the family of what is checked (keepalived's `bindto`).",
		func(c *Check) *netip.Addr { return &c.Source }),
	choiceKey("via", `"real"`, "`real`: the check goes to the real server's address. `path`: it goes to the virtual address, and the kernel forwards it to that server as it forwards clients, so that a server without its VIP is found.",
		func(c *Check) *Via { return &c.Via }, ViaReal, ViaPath),
}

// typeKeys are keys of some types; CheckTypes tells which.
var typeKeys = []key[Check]{
	textKey("request", `""`, "What is asked: a path of HTTP, a name of DNS, a statement of SQL, a DN, a file, a group, a service of gRPC, or the text that is sent; \"hex:\" begins bytes that are none.",
		func(c *Check) *string { return &c.Request }, func(s string) error { return hexBytes(s, "") }),
	textKey("receive", `""`, "RE2 expression that the answer must match. Empty: any answer. \"hex:\" begins the bytes that an answer of tcp or udp begins with, an x in them is any digit; \"md5:\" the MD5 sum of a page of HTTP (keepalived's `digest`).",
		func(c *Check) *string { return &c.Receive }, expression),
	textKey("status", `"200-299"`, "Status codes that are accepted, such as \"200-299,304\".",
		func(c *Check) *string { return &c.Status }, statusRanges),
	textKey("method", `"GET"`, "Method of the HTTP request (ldirectord's `httpmethod`).",
		func(c *Check) *string { return &c.Method }, httpMethod),
	textKey("virtualhost", `""`, "Host header, and the server name of TLS.",
		func(c *Check) *string { return &c.VirtualHost }, virtualHost),
	intKey("follow", "0", "Redirects that are followed, on the same host.",
		func(c *Check) *int { return &c.Follow }, 0, 3),

	choiceKey("tls", "", "`off`; `on`: TLS from the first byte; `starttls`: after the protocol's own command for it.",
		func(c *Check) *TLSMode { return &c.TLS }, TLSOff, TLSOn, TLSStart),
	textKey("server_name", `""`, "Name that TLS sends and verifies. Empty: `virtualhost`, or the real server's name.",
		func(c *Check) *string { return &c.ServerName }, serverName),
	boolKey("verify", "true", "Whether the certificate must be valid for the name.",
		func(c *Check) *bool { return &c.Verify }),
	textKey("ca", `""`, "File of the certificates to verify by. Empty: the system's.",
		func(c *Check) *string { return &c.CA }, absolute),
	textKey("cert", `""`, "File of the client certificate.",
		func(c *Check) *string { return &c.Cert }, absolute),
	textKey("key", `""`, "File of its key.",
		func(c *Check) *string { return &c.Key }, absolute),
	spanKey("expiry_warning", `"14d"`, "How long before the server's certificate ends it is warned of. \"0s\": never.",
		func(c *Check) *time.Duration { return &c.ExpiryWarning }, 0, 3650*day),

	expandedKey("login", `""`, "User name.",
		func(c *Check) *string { return &c.Login }, printable),
	secretKey("password", `""`, "Password.",
		func(c *Check) *Secret { return &c.Password }, nil),
	textKey("password_file", `""`, "File that holds the password and nothing else; others must not be able to read it.",
		func(c *Check) *string { return &c.PasswordFile }, absolute),
	expandedKey("database", `""`, "Database, or service of Oracle.",
		func(c *Check) *string { return &c.Database }, printable),
	secretKey("secret", `""`, "Shared secret of RADIUS.",
		func(c *Check) *Secret { return &c.Secret }, nil),
	textKey("secret_file", `""`, "File that holds the secret and nothing else.",
		func(c *Check) *string { return &c.SecretFile }, absolute),
	boolKey("require_message_authenticator", "false", "Whether only answers of RADIUS that have a Message-Authenticator count; others can be forged (BlastRADIUS). Older servers, such as Debian 12's FreeRADIUS as it is shipped, send none.",
		func(c *Check) *bool { return &c.RequireMessageAuthenticator }),

	textKey("record", `"A"`, "Type of the DNS record that is asked for.",
		func(c *Check) *string { return &c.Record }, recordType),
	choiceKey("protocol", `""`, "`udp` or `tcp` of dns and sip, `tcp` or `sctp` of connect. Empty: the service's.",
		func(c *Check) *string { return &c.Protocol }, "", "udp", "tcp", "sctp"),
	listKey("command", "[]", "Program and arguments, to which ldirectord's four are added: virtual address or firewall mark, its port, real server, its port. Status 0 is up. It runs without a shell, and is ended with all it started at the timeout.",
		func(c *Check) *[]string { return &c.Command }, nil),
	boolKey("arguments", "true", "Whether ldirectord's four arguments are added to `command`. What they tell is in the environment in any case.",
		func(c *Check) *bool { return &c.Arguments }),
	textKey("user", `""`, "User that `command` runs as, with a group behind a colon if it is not the user's. Empty: that of `command_user`.",
		func(c *Check) *string { return &c.User }, word),
	spanKey("cpu_limit", `"0s"`, "Processor time of each of its processes, in whole seconds. \"0s\": no limit.",
		func(c *Check) *time.Duration { return &c.CPULimit }, 0, day),
	intKey("memory_limit", "0", "Address space of each of its processes, in MiB. 0: no limit.",
		func(c *Check) *int { return &c.MemoryLimit }, 0, 1<<30),
	intKey("file_limit", "0", "Files that each of its processes may have open. 0: no limit.",
		func(c *Check) *int { return &c.FileLimit }, 0, 1<<20),
	boolKey("dynamic_weight", "false", "Statuses of `command` from 2 to 255 are up, too, and the server's weight is the status less 2 for as long as it is said (keepalived's `misc_dynamic`). Status 0: the weight of the file. Of several such checks the least weight counts.",
		func(c *Check) *bool { return &c.DynamicWeight }),
}

// checkKeys are all keys of a check.
var checkKeys = append(append(append([]key[Check]{commonKeys[0]}, lift(timingKeys, func(c *Check) *Timing { return &c.Timing })...),
	commonKeys[1:]...), typeKeys...)

// lift makes the rows of a part rows of the whole.
func lift[P, T any](keys []key[P], part func(*T) *P) (out []key[T]) {
	for _, k := range keys {
		out = append(out, key[T]{k.name, k.zero, k.doc,
			func(r *reader, n node, t *T) { k.set(r, n, part(t)) },
			func(t *T) string { return k.text(part(t)) }})
	}
	return out
}

// NewCheck is a check of that type as it is when nothing but the type is given.
func NewCheck(typ string, t Timing) Check {
	made, ok := plainChecks.Load(typ)
	if !ok {
		made, _ = plainChecks.LoadOrStore(typ, newCheck(typ))
	}
	c := made.(Check)
	c.Timing = t
	return c
}

var plainChecks sync.Map // by type: each service asks for one

func newCheck(typ string) (c Check) {
	spec := specOf(typ)
	for _, k := range append(commonKeys[1:len(commonKeys):len(commonKeys)], typeKeys...) {
		if k.zero != "" && (isCommon(k.name) || spec.has(k.name)) {
			setDefaults([]key[Check]{k}, &c)
		}
	}
	c.Type, c.TLS = typ, spec.TLS
	return c
}

func isCommon(name string) bool {
	for _, k := range commonKeys {
		if k.name == name {
			return true
		}
	}
	for _, k := range timingKeys {
		if k.name == name {
			return true
		}
	}
	return false
}

func (s *CheckType) has(key string) bool {
	return slices.Contains(s.Keys, key)
}

func addrKey[T any](name, zero, doc string, at func(*T) *netip.Addr) key[T] {
	return key[T]{name, zero, doc,
		func(r *reader, n node, t *T) {
			s, ok := typed[string](r, n, name, "an address in quotes")
			if !ok {
				return
			}
			if s == "" {
				*at(t) = netip.Addr{}
				return
			}
			a, err := parseBare(s)
			if err == nil {
				err = checkUnicast(a)
			}
			if err != nil {
				r.problem(n.line, hintOf(err), "%s: %v", name, err)
				return
			}
			*at(t) = a
		},
		func(t *T) string {
			if a := *at(t); a.IsValid() {
				return quote(a.String())
			}
			return `""`
		},
	}
}

func checkType(s string) error {
	var list []string
	for _, t := range checkTypes {
		if t.Name == s {
			return nil
		}
		list = append(list, t.Name)
	}
	hint := didYouMean(s, list)
	if h, ok := map[string]string{
		"negotiate": `ldirectord's negotiate is the type of the service: "http", "smtp", ...`,
		"simpletcp": `that is type "tcp" here`, "none": `that is type "on" here`, "pop": `that is type "pop3" here`,
		"pops": `that is type "pop3s" here`, "external-perl": `that is type "external" here`, "misc": `that is type "external" here`,
		"icmp": `that is type "ping" here`, "postgres": `that is type "pgsql" here`, "postgresql": `that is type "pgsql" here`,
	}[s]; ok {
		hint = h
	}
	return hinted{fmt.Errorf("unknown type %s (one of %s)", quote(clip(s)), strings.Join(list, ", ")), hint}
}

func expression(s string) error {
	if strings.HasPrefix(s, "hex:") {
		return hexBytes(s, "x")
	}
	if sum, ok := strings.CutPrefix(s, "md5:"); ok {
		if b, err := hex.DecodeString(sum); err != nil || len(b) != md5.Size {
			return errors.New(quote(clip(s)) + " is not 32 hexadecimal digits")
		}
		return nil
	}
	if _, err := regexp.Compile(s); err != nil {
		return hinted{fmt.Errorf("bad expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: ")), "the syntax is RE2's, which has no look-around and no back references"}
	}
	return nil
}

// hexBytes looks at what follows "hex:"; other text may be anything.
func hexBytes(s, more string) error {
	digits, ok := strings.CutPrefix(s, "hex:")
	if !ok {
		return nil
	}
	digits = strings.ReplaceAll(digits, " ", "")
	if len(digits)%2 != 0 || digits == "" || strings.Trim(strings.ToLower(digits), "0123456789abcdef"+more) != "" {
		return fmt.Errorf("%s is not pairs of hexadecimal digits", quote(clip(s)))
	}
	return nil
}

// StatusRange is a range of status codes, both ends included.
type StatusRange struct{ First, Last int }

// StatusRanges are the ranges that s holds: those of a checked [Check].Status.
func StatusRanges(s string) (out []StatusRange, err error) {
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		a, errA := strconv.Atoi(first)
		b, errB := strconv.Atoi(last)
		switch {
		case errA != nil || errB != nil || a < 100 || b > 599 || len(first) != 3 || len(last) != 3:
			return nil, hinted{fmt.Errorf("bad status codes %s", quote(clip(s))), `like "200-299,304"; a code is 100 to 599`}
		case b < a:
			return nil, fmt.Errorf("the status codes %s go backwards", part)
		}
		out = append(out, StatusRange{a, b})
	}
	return out, nil
}

func statusRanges(s string) error { _, err := StatusRanges(s); return err }

func httpMethod(s string) error { return oneOf(s, []string{"GET", "HEAD", "OPTIONS", "POST"}) }

func virtualHost(s string) error {
	if strings.ContainsAny(s, " \t/\\@") || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return hinted{errors.New("bad host " + quote(clip(s))), "only a name, and a port if need be"}
	}
	return nil
}

func serverName(s string) error {
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	return checkHost(s)
}

func recordType(s string) error {
	return oneOf(s, []string{"A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"})
}
