package importer

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/ipvs"
)

func isChecker(b *block) bool {
	return strings.HasSuffix(b.name(), "_CHECK") || b.name() == "HTTP_GET" || b.name() == "SSL_GET"
}

// kaCheck is a checker while it is converted.
type kaCheck struct {
	kaDefaults
	block  *block
	list   []config.Check
	rest   []*block // lines of the type's own
	addr   netip.Addr
	port   uint16
	source netip.Addr
}

// checker converts a checker; HTTP_GET has a check for each url. A checker with
// alpha makes the real server, of the defaults, one that has it.
func (k *keepalived) checker(v *kaVirtual, d *kaDefaults, b *block) []config.Check {
	c := &kaCheck{kaDefaults: *d, block: b}
	if !c.ownRetry && b.name() == "DNS_CHECK" {
		c.retry = 3
	}
	if !c.ownRetry && b.name() == "MISC_CHECK" {
		c.retry = 0
	}
	if !c.ownBefore && (b.name() == "HTTP_GET" || b.name() == "SSL_GET") {
		c.before = 3 * time.Second
	}
	k.each(b, func(l *block) {
		for _, s := range oneLine(l) {
			k.checkLine(c, s)
		}
	})
	switch b.name() {
	case "TCP_CHECK":
		k.simple(c, "connect")
	case "PING_CHECK":
		k.simple(c, "ping")
		c.list[0].Port = 0
	case "SMTP_CHECK":
		k.smtpCheck(c)
	case "HTTP_GET", "SSL_GET":
		k.httpCheck(c)
	case "DNS_CHECK":
		k.dnsCheck(c)
	case "UDP_CHECK":
		k.udpCheck(c)
	case "MISC_CHECK":
		k.miscCheck(c)
	default:
		k.replace(v, c)
	}
	d.alpha = d.alpha || c.alpha
	return c.list
}

// checkWords are what may follow each other on one line in braces.
var checkWords = set("path digest status_code virtualhost regex connect_ip connect_port connect_timeout bindto retry delay_before_retry nb_get_retry " +
	"misc_path misc_timeout type name payload require_reply")

// oneLine takes { path / status_code 200 } apart.
func oneLine(b *block) (out []*block) {
	words := b.words
	for i := 2; i < len(words); i++ {
		if checkWords[words[i]] && checkWords[words[0]] {
			out = append(out, &block{place: b.place, words: words[:i]})
			words, i = words[i:], 1
		}
	}
	rest := *b
	rest.words = words
	return append(out, &rest)
}

// checkLine takes a line that every checker may have, and keeps the others.
func (k *keepalived) checkLine(c *kaCheck, b *block) {
	var err error
	switch b.name() {
	case "connect_ip":
		c.addr = k.checkAddr(b)
	case "bindto":
		c.source = k.checkAddr(b)
	case "connect_port":
		if c.port, err = k.port(b.arg(0), ipvs.TCP); err != nil {
			k.lost(b, err.Error())
		}
	case "bind_if", "bind_port", "fwmark", "fast_recovery":
		k.lost(b, noLike)
	case "alpha":
		c.alpha = k.truth(b)
	case "http_protocol", "enable_sni", "tls_compliant": // HTTP/1.1, and the name is always sent
	default:
		if !k.timing(&c.kaDefaults, b) {
			c.rest = append(c.rest, b)
		}
	}
}

// checkAddr reads an address that a check can use without knowing an interface.
func (k *keepalived) checkAddr(b *block) netip.Addr {
	text, _ := undefined(b.arg(0))
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() || a.Is6() && a.IsLinkLocalUnicast() {
		k.lost(b, "no address of a machine")
		return netip.Addr{}
	}
	return a
}

// newCheck has the checker's timing. In keepalived each stage of a check may
// take connect_timeout; stages is how many there are.
func (c *kaCheck) newCheck(typ string, stages int) config.Check {
	t := config.Default().Check
	t.Interval, t.Timeout = min(c.delay, 24*time.Hour), min(c.connect*time.Duration(stages), time.Hour)
	if t.Fall = c.retry + 1; t.Fall > 1 && c.before != c.delay {
		t.FastInterval = c.before
	}
	out := config.NewCheck(typ, t)
	out.Address, out.Port, out.Source = c.addr, c.port, c.source
	return out
}

// simple is a checker without lines of its own.
func (k *keepalived) simple(c *kaCheck, typ string) {
	for _, b := range c.rest {
		k.lost(b, noLike)
	}
	c.list = append(c.list, c.newCheck(typ, 1))
}

// replace stands in for a checker that has no like.
func (k *keepalived) replace(v *kaVirtual, c *kaCheck) {
	c.rest = nil
	typ, does := "connect", "only connects"
	if v.protocol == ipvs.UDP {
		typ, does = "ping", "pings"
	}
	k.lost(c.block, "no such check: it "+does)
	c.list = append(c.list, c.newCheck(typ, 1))
}

// smtpCheck: old files have host blocks, a check for each.
func (k *keepalived) smtpCheck(c *kaCheck) {
	for _, b := range c.rest {
		if b.name() != "host" || !b.open {
			k.lost(b, noLike)
			continue
		}
		h := &kaCheck{kaDefaults: c.kaDefaults, block: c.block, addr: c.addr, port: c.port, source: c.source}
		k.each(b, func(l *block) { k.checkLine(h, l) })
		for _, l := range h.rest {
			k.lost(l, noLike)
		}
		c.list = append(c.list, h.newCheck("smtp", 3))
	}
	if len(c.list) == 0 {
		c.list = append(c.list, c.newCheck("smtp", 3))
	}
}

func (k *keepalived) dnsCheck(c *kaCheck) {
	out := c.newCheck("dns", 1)
	out.Record, out.Request, out.Protocol = "SOA", ".", "udp"
	for _, b := range c.rest {
		switch b.name() {
		case "type":
			if r := strings.ToUpper(b.arg(0)); set("A NS CNAME SOA MX TXT AAAA PTR SRV")[r] {
				out.Record = r
			} else {
				k.lost(b, "no type that is asked for: SOA is")
			}
		case "name":
			if text, undef := undefined(b.arg(0)); !undef && text != "" {
				out.Request = text
			} else {
				k.lost(b, "no name")
			}
		default:
			k.lost(b, noLike)
		}
	}
	c.list = append(c.list, out)
}

func (k *keepalived) udpCheck(c *kaCheck) {
	out := c.newCheck("udp", 1)
	for _, b := range c.rest {
		digits := strings.ToLower(strings.Join(b.words[1:], ""))
		ok := len(digits)%2 == 0
		switch {
		case b.name() == "payload" && ok && strings.Trim(digits, "0123456789abcdef") == "":
			if digits != "" {
				out.Request = "hex:" + digits
			}
		case b.name() == "require_reply" && ok && strings.Trim(digits, "0123456789abcdefx") == "":
			if out.Receive = "hex:" + digits; digits == "" {
				out.Receive = "(?s).*" // any answer, but one
			}
		default:
			k.lost(b, noLike)
		}
	}
	c.list = append(c.list, out)
}

func (k *keepalived) miscCheck(c *kaCheck) {
	var command []string
	timeout, dynamic, user := c.delay, false, ""
	for _, b := range c.rest {
		switch b.name() {
		case "misc_path":
			command = argv(k.commandText(b, strings.Join(b.words[1:], " ")))
		case "misc_timeout":
			timeout = k.seconds(b, timeout)
		case "misc_dynamic":
			dynamic = k.truth(b)
		case "user":
			if user = k.user(b, b.words[1:]); user == k.cfg.CommandUser {
				user = ""
			}
		default:
			k.lost(b, noLike)
		}
	}
	c.connect = timeout
	if len(command) == 0 {
		k.lost(c.block, "no command: the check is left out")
		return
	}
	out := c.newCheck("external", 1)
	out.Address, out.Port, out.Source = netip.Addr{}, 0, netip.Addr{}
	out.Command, out.Arguments, out.DynamicWeight, out.User = command, false, dynamic, user
	c.list = append(c.list, out)
}

// httpCheck has a check for each url. keepalived asks for one at a time, in
// turn, and a server is up when all are right.
func (k *keepalived) httpCheck(c *kaCheck) {
	typ, stages, name := "http", 2, ""
	if c.block.name() == "SSL_GET" {
		typ, stages = "https", 3
	}
	var urls []*block
	for _, b := range c.rest {
		switch {
		case b.name() == "url":
			urls = append(urls, b)
		case b.name() == "virtualhost":
			c.virtualhost = k.vhost(b, c.virtualhost)
		case b.name() == "sni_name":
			name = k.vhost(b, "")
		default:
			k.lost(b, noLike)
		}
	}
	if len(urls) == 0 {
		k.lost(c.block, "no url: / is asked for")
		urls = append(urls, &block{place: c.block.place, words: []string{"url"}})
	}
	for _, u := range urls {
		out := c.newCheck(typ, stages)
		out.Request, out.VirtualHost = "/", c.virtualhost
		if typ == "https" {
			out.Verify, out.ServerName = false, name
			out.Cert, out.Key = k.cert, k.key
		}
		k.url(&out, u)
		c.list = append(c.list, out)
	}
}

// url reads the lines of a url. What the page must be is said by several of
// them, in any order.
func (k *keepalived) url(c *config.Check, u *block) {
	page := map[string]*block{"digest": nil, "regex": nil, "regex_options": nil, "regex_no_match": nil}
	k.each(u, func(l *block) {
		for _, s := range oneLine(l) {
			if _, is := page[s.name()]; is {
				page[s.name()] = s
			} else {
				k.urlLine(c, s)
			}
		}
	})
	if b := page["digest"]; b != nil {
		k.digest(c, b)
	}
	regex, not := page["regex"], page["regex_no_match"]
	switch {
	case regex == nil:
		for _, name := range []string{"regex_options", "regex_no_match"} {
			if b := page[name]; b != nil {
				k.lost(b, "there is no regex")
			}
		}
	case not != nil && k.truth(not):
		k.lost(not, "an answer can be asked to match, not to be without: any will do")
	case c.Receive != "":
		k.lost(regex, "a check has one thing to compare: the digest it is")
	default:
		k.regex(c, regex, page["regex_options"])
	}
}

func (k *keepalived) urlLine(c *config.Check, b *block) {
	switch b.name() {
	case "path":
		text, undef := undefined(strings.Join(b.words[1:], " "))
		if undef || !isASCII(text) || text == "" {
			k.lost(b, "no path")
			return
		}
		c.Request = "/" + strings.TrimPrefix(text, "/")
	case "virtualhost":
		c.VirtualHost = k.vhost(b, c.VirtualHost)
	case "status_code":
		status := strings.Join(b.words[1:], ",")
		if _, err := config.StatusRanges(status); err != nil {
			k.lost(b, "no status codes")
			return
		}
		c.Status = status
	case "tls_compliant":
	default:
		k.lost(b, noLike)
	}
}

func (k *keepalived) digest(c *config.Check, b *block) {
	sum := strings.ToLower(b.arg(0))
	if len(sum) != 32 || strings.Trim(sum, "0123456789abcdef") != "" {
		k.lost(b, "no MD5 sum")
		return
	}
	c.Receive = "md5:" + sum
}

// regex takes an expression with its options, which are PCRE2's; RE2 has some of
// them as flags.
func (k *keepalived) regex(c *config.Check, b, options *block) {
	var flags strings.Builder
	if options != nil {
		for _, w := range options.words[1:] {
			f, ok := map[string]string{"caseless": "i", "multiline": "m", "dotall": "s", "ungreedy": "U"}[strings.ToLower(w)]
			if !ok {
				k.lost(options, "RE2 has no "+strconv.Quote(clip(w)))
			}
			flags.WriteString(f)
		}
	}
	text := b.arg(0)
	if flags.Len() > 0 {
		text = "(?" + flags.String() + ")" + text
	}
	if _, err := regexp.Compile(text); err != nil || b.arg(0) == "" {
		k.lost(b, "RE2 has no such expression: any answer will do")
		return
	}
	c.Receive = text
}
