package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"strings"

	mdns "github.com/miekg/dns"
)

// udpSize is the largest answer taken by UDP: what passes any path unbroken
// (DNS flag day 2020).
const udpSize = 1232

// dnsCheck asks one question by UDP, and again by TCP when the answer was cut
// short; or by TCP alone. The answer must have a record of the type asked for,
// and one with the value that receive says.
type dnsCheck struct {
	name     string
	kind     uint16
	protocol string
	values   *values
}

// dns takes the name from request and the record's type from method: A unless
// it says otherwise, or PTR when the name is an address.
func dns(c Check) (look, error) {
	name, kind, err := question(c.Request, c.Method)
	if err != nil {
		return nil, err
	}
	v, err := newValues(kind, c.Receive)
	if err != nil {
		return nil, err
	}
	protocol, err := transport(c, "udp", "tcp")
	return dnsCheck{name, kind, protocol, v}.look, err
}

// transport is the check's protocol, which must be one of these; the first is
// the default.
func transport(c Check, protocols ...string) (string, error) {
	for _, p := range protocols {
		if c.Protocol == "" || c.Protocol == p {
			return p, nil
		}
	}
	return "", fmt.Errorf("protocol is %s, not %q", strings.Join(protocols, " or "), c.Protocol)
}

func question(request, method string) (name string, kind uint16, err error) {
	if request == "" {
		return "", 0, errors.New("no name to ask for (request)")
	}
	if method == "" {
		method = "A"
	}
	if reverse, err := mdns.ReverseAddr(request); err == nil {
		request = reverse
		if method == "A" {
			method = "PTR"
		}
	}
	kind, ok := mdns.StringToType[strings.ToUpper(method)]
	if !ok || kind == mdns.TypeNone || kind == mdns.TypeOPT || metaType(kind) {
		return "", 0, fmt.Errorf("record type %q is not known", method)
	}
	if _, ok := mdns.IsDomainName(request); !ok {
		return "", 0, fmt.Errorf("%q is not a domain name", request)
	}
	return mdns.CanonicalName(request), kind, nil
}

// metaType tells of types that are no records but requests for more than an
// answer, such as AXFR (RFC 6895 section 3.1).
func metaType(kind uint16) bool { return kind >= 128 && kind < 255 }

func (q dnsCheck) look(ctx context.Context, d *Dialer) error {
	edns := true
	answer, err := q.ask(ctx, d, q.protocol, edns)
	if err == nil && beforeEDNS(answer) {
		d.Note("the server knows no EDNS (%s): asking without", rcode(answer.Rcode))
		edns = false
		answer, err = q.ask(ctx, d, q.protocol, edns)
	}
	if err == nil && answer.Truncated && q.protocol == "udp" {
		d.Note("the answer was cut short: asking by TCP")
		answer, err = q.ask(ctx, d, "tcp", edns)
	}
	if err == nil {
		err = q.judge(answer)
	}
	if err != nil {
		return fmt.Errorf("dns %s %s: %w", q.name, mdns.TypeToString[q.kind], err)
	}
	return nil
}

// beforeEDNS tells of a server that is older than what allows long answers by
// UDP, and says so as RFC 6891 section 7 wants it to.
func beforeEDNS(answer *mdns.Msg) bool {
	return (answer.Rcode == mdns.RcodeFormatError || answer.Rcode == mdns.RcodeNotImplemented) && answer.IsEdns0() == nil
}

// judge looks for the wanted record. Records of other types, such as the
// CNAMEs on the way, do not count.
func (q dnsCheck) judge(answer *mdns.Msg) error {
	if answer.Rcode != mdns.RcodeSuccess {
		return errors.New(rcode(answer.Rcode))
	}
	var found []string
	for _, rr := range answer.Answer {
		if rr.Header().Rrtype != q.kind && q.kind != mdns.TypeANY {
			continue
		}
		if q.values.match(rr) {
			return nil
		}
		found = append(found, valueOf(rr))
	}
	switch {
	case len(found) > 0:
		return fmt.Errorf("no answer matches %q: %s", q.values.text, shorten([]byte(strings.Join(found, ", "))))
	case len(answer.Answer) > 0:
		return errors.New("no record of this type among the answers")
	}
	return errors.New("no such record (empty answer)")
}

func rcode(code int) string {
	if s, ok := mdns.RcodeToString[code]; ok {
		return s
	}
	return fmt.Sprintf("rcode %d", code)
}
