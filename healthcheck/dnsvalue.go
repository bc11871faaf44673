package healthcheck

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	mdns "github.com/miekg/dns"
)

// values is what a record's value must be. A text that is itself a value of the
// record's type is compared as one: 192.0.2.1 is not 192.0.2.10, letter case,
// ways to write an address and final dots are no matter. Any other text is an
// expression. TXT records, where every text is a value, may be either.
type values struct {
	text  string
	equal string         // in the canonical form of [canonical], "" when the text is no value
	re    *regexp.Regexp // nil when the text is a value
}

func newValues(kind uint16, text string) (*values, error) {
	v := &values{text: text}
	if text == "" {
		return v, nil
	}
	v.equal = canonicalText(kind, text)
	if v.equal != "" && kind != mdns.TypeTXT {
		return v, nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("receive is no value of a %s record and no expression: %w", mdns.TypeToString[kind], err)
	}
	v.re = re
	return v, nil
}

// match reports whether the record has a wanted value. Nothing wanted: all do.
func (v *values) match(rr mdns.RR) bool {
	switch {
	case v.text == "":
		return true
	case v.equal != "" && canonical(rr) == v.equal:
		return true
	}
	return v.re != nil && v.re.MatchString(valueOf(rr))
}

// valueOf is a record's value as an operator writes it: TXT without quotes,
// names with their final dot.
func valueOf(rr mdns.RR) string {
	if txt, ok := rr.(*mdns.TXT); ok {
		return strings.Join(txt.Txt, "")
	}
	return strings.TrimPrefix(rr.String(), rr.Header().String())
}

// canonical is a record's value in a form in which equal values are equal texts.
func canonical(rr mdns.RR) string {
	switch r := rr.(type) {
	case *mdns.A:
		a, _ := netip.AddrFromSlice(r.A)
		return a.Unmap().String()
	case *mdns.AAAA:
		a, _ := netip.AddrFromSlice(r.AAAA)
		return a.String()
	case *mdns.TXT:
		return valueOf(rr)
	}
	return strings.ToLower(valueOf(rr))
}

// canonicalText reads the text as a value of the type; "" when it is none. A
// name counts as a value only with a dot in it: one word may be a part of one.
func canonicalText(kind uint16, text string) string {
	switch kind {
	case mdns.TypeA, mdns.TypeAAAA:
		a, err := netip.ParseAddr(text)
		if err != nil {
			return ""
		}
		return a.Unmap().String()
	case mdns.TypeTXT:
		return text
	}
	if !strings.Contains(text, ".") || strings.ContainsAny(text, "*+?^$()[]{}|\\;\n\r") {
		return ""
	}
	rr, err := mdns.NewRR(". 0 IN " + mdns.TypeToString[kind] + " " + text)
	if err != nil || rr == nil {
		return ""
	}
	return canonical(rr)
}
