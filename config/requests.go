package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// textRules are what protocols want of the texts of a check, by the name of the
// type. They are what the check itself would refuse when it is made ready.
var textRules = map[string]func(*Check) (key string, err error){
	"http": page, "https": page, "http2": page, "http_proxy": beyondProxy,
	"dns": domainName, "ldap": entryName, "ldaps": entryName, "sip": sipAddress, "oracle": oracleService, "radius": radiusLengths,
}

// inLines are the types whose protocol is lines of text, or has texts that end
// at a zero byte.
var inLines = words("smtp submission pop3 pop3s imap imaps ftp nntp ldap ldaps redis radius sip mysql pgsql")

// sayable reports texts that the type's protocol cannot say.
func (r *reader) sayable(s *CheckType, ch *Check, line func(string) int) {
	if slices.Contains(inLines, s.Name) {
		for _, k := range [][2]string{{"login", ch.Login}, {"password", ch.Password.Reveal()}, {"request", ch.Request}, {"database", ch.Database}} {
			if statement := k[0] == "request" && slices.Contains(onlyStart, s.Name); !statement && strings.ContainsAny(k[1], "\r\n\x00") {
				r.problem(line(k[0]), "", "%s: line breaks and zero bytes are not possible with %s", k[0], s.Name)
			}
		}
	}
	if rule := textRules[s.Name]; rule != nil {
		if key, err := rule(ch); err != nil {
			r.problem(line(key), hintOf(err), "%s: %v", key, err)
		}
	}
}

func page(c *Check) (string, error) {
	_, err := url.Parse("/" + strings.TrimPrefix(c.Request, "/"))
	return "request", noURL(c.Request, err)
}

func noURL(text string, err error) error {
	if err == nil {
		return nil
	}
	var why *url.Error
	if errors.As(err, &why) {
		err = why.Err
	}
	return fmt.Errorf("%s cannot be asked for: %w", quote(clip(text)), err)
}

func beyondProxy(c *Check) (string, error) {
	if !strings.Contains(c.Request, "://") {
		if _, _, err := net.SplitHostPort(c.Request); err != nil {
			return "request", hinted{fmt.Errorf("%s is neither a URL nor HOST:PORT", quote(clip(c.Request))), `like "http://www.example.com/"`}
		}
		return "", nil
	}
	u, err := url.Parse(c.Request)
	switch {
	case err != nil:
		return "request", noURL(c.Request, err)
	case u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return "request", fmt.Errorf("%s is no URL of http or https", quote(clip(c.Request)))
	case u.User != nil:
		return "request", hinted{errors.New("a URL with a user"), "login and password are for the proxy; for the server beyond there is none"}
	case u.Scheme == "http" && c.VirtualHost != "":
		return "virtualhost", errors.New("a proxy takes the name from the URL")
	}
	return "", nil
}

// domainName is one of RFC 1035, section 2.3.4, or an address, of which the name
// is asked for.
func domainName(c *Check) (string, error) {
	name := strings.TrimSuffix(c.Request, ".")
	if _, err := netip.ParseAddr(name); err == nil || name == "" {
		return "", nil
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || len(name) > 253 {
			return "request", errors.New(quote(clip(c.Request)) + " is no domain name")
		}
	}
	return "", nil
}

// entryName is a distinguished name: NAME=VALUE, and more behind commas.
func entryName(c *Check) (string, error) {
	plain := strings.NewReplacer(`\\`, "x", `\,`, "x", `\+`, "x", `\;`, "x").Replace(c.Request)
	for part := range strings.FieldsFuncSeq(plain, func(r rune) bool { return r == ',' || r == '+' || r == ';' }) {
		if name, _, ok := strings.Cut(part, "="); !ok || strings.TrimSpace(name) == "" {
			return "request", hinted{errors.New(quote(clip(c.Request)) + " is not a distinguished name"), `like "cn=health,dc=example,dc=com"`}
		}
	}
	return "", nil
}

func sipAddress(c *Check) (string, error) {
	for key, text := range map[string]string{"request": c.Request, "login": c.Login} {
		if strings.ContainsAny(text, "<> \t") {
			return key, hinted{errors.New(quote(clip(text)) + " is no SIP address"), `like "monitor@example.com"`}
		}
	}
	return "", nil
}

func oracleService(c *Check) (string, error) {
	if strings.ContainsAny(c.Database, "()=\x00 \r\n") {
		return "database", errors.New(quote(clip(c.Database)) + " is no name of a service")
	}
	return "", nil
}

// radiusLengths are those of RFC 2865, sections 5.1 and 5.2.
func radiusLengths(c *Check) (string, error) {
	switch {
	case len(c.Password) > 128:
		return "password", errors.New("more than 128 bytes")
	case len(c.Login) > 253:
		return "login", errors.New("more than 253 bytes")
	}
	return "", nil
}
