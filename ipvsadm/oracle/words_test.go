package oracle

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// word is an option of ipvsadm's with values for it.
type word struct {
	short, long string
	good, bad   []string // no good ones: it takes none
	optional    bool     // the value
}

var (
	addresses = []string{"10.0.0.1:80", "10.0.0.1:53", "[2001:db8::80]:80", "10.0.0.2:443", "vip.example.com:http", "10.0.0.1", "2001:db8::80", "10.0.0.3:0",
		"0.0.0.0:0", "[::]:0", "0.0.0.0:80", "[2001:DB8:0::80]:080", "224.0.0.1:80", "255.255.255.255:80", "10.0.0.1:00080", "2001:db8::80:80", "multi.example.com:80",
		"vip:domain", "localhost:80", "[fe80::1]:80", "127.0.0.1:80", "VIP.Example.com:www", "[::ffff:10.0.0.1]:80", "[::10.0.0.1]:80"}
	badAddresses = []string{"80", "", "10.0.0.1:99999", "10.0.0.1:", "nohost:80", "[2001:db8::80]", "[::1", "10.0.0.1:nosuch", "300.1.1.1:80", "10.0.0.1:-1",
		"10.0.0.1/32:80", "[]:80", ":80", "::", "fe80::1%lo", "10.0.0.1:80:80", "[2001:db8::80]80", "[2001:db8::80]:", "10.0.0.1: 80", "+1", "[10.0.0.1]:80", "10.1:80", "0x0a000001:80",
		"vip6.example.com:80", "10.0.0.1:0x50", "10.0.0.1:80x", "10.0.0.1:http ", "10.0.0.1:http:", "10.0.0.256:80", "10.0.0.1.:80", ".:80", "-:80", "vip..example.com:80",
		"[2001:db8::80]:http:", "[[2001:db8::80]]:80", "2001:db8::g", "2001:db8::80/64", "10.0.0.1,10.0.0.2:80", "vip/24:80", "::ffff:10.0.0.1:80"}
	oddServers = []string{"0.0.0.0", "224.0.0.1", "255.255.255.255", "[fe80::1]:80", "fe80::1", "127.0.0.1", "[ff02::1]:80", "10.0.0.1:0", "::ffff:10.0.0.1", "::", "rs61.example.com:80", "rs1:domain"}
	numbers    = []string{"", "x", "-1", "1.5", "0x10", "99999999999999999999", "1 ", " 1", "+1", "1k", "010", "1e3", "1_0", "0b1", "--", "=1", "4294967296", "0000000000000000000001", "1.", ",", "\t1", "\u00b2"}
)

// words are the options by their names in the matrix of commands and options.
var words = map[string]word{
	"tcp":     {short: "t", long: "tcp-service", good: addresses, bad: badAddresses},
	"udp":     {short: "u", long: "udp-service", good: addresses, bad: badAddresses},
	"sctp":    {long: "sctp-service", good: addresses, bad: badAddresses},
	"mark":    {short: "f", long: "fwmark-service", good: []string{"5", "6", "4294967295"}, bad: append(numbers, "0", "4294967296")},
	"6":       {short: "6", long: "ipv6"},
	"sched":   {short: "s", long: "scheduler", good: []string{"rr", "wlc", "sh", "mh", "", "none"}, bad: []string{"nosuch", "a-name-that-is-too-long", "RR", "fifteen-letters", "sixteen--letters", "rr,"}},
	"pe":      {long: "pe", good: []string{"sip", ""}, bad: []string{"nosuch", "a-name-that-is-too-long"}},
	"persist": {short: "p", long: "persistent", good: []string{"1", "300", "2678400"}, bad: append(numbers, "0", "2678401"), optional: true},
	"mask":    {short: "M", long: "netmask", good: []string{"255.255.255.0", "64", "255.0.255.0"}, bad: append(numbers, "0", "24", "129", "nohost", "255.255.255.256", "mask24")},
	"ops":     {short: "o", long: "ops"},
	"flags": {short: "b", long: "sched-flags", good: []string{"flag-1", "flag-2,flag-1", "sh-port", "mh-fallback,mh-port", "flag-3,", ""},
		bad: []string{"nosuch", "flag-1,nosuch", "flag-4", "sh-port,mh-port", "flag-1 flag-2", ",flag-1", "flag-1,,flag-2", ",", ",,", "FLAG-1", "sh", "flag-1,flag-1"}},
	"server": {short: "r", long: "real-server", good: []string{"192.168.1.11:80", "192.168.1.11", "192.168.1.12:8080", "[2001:db8::a1]:80", "rs1:http", "192.168.1.13"}, bad: append(oddServers, badAddresses...)},
	"nat":    {short: "m", long: "masquerading"}, "dr": {short: "g", long: "gatewaying"}, "tun": {short: "i", long: "ipip"},
	"weight":  {short: "w", long: "weight", good: []string{"0", "1", "65535", "2147483647"}, bad: append(numbers, "2147483648")},
	"upper":   {short: "x", long: "u-threshold", good: []string{"0", "100", "2147483647"}, bad: append(numbers, "2147483648")},
	"lower":   {short: "y", long: "l-threshold", good: []string{"0", "50", "200"}, bad: append(numbers, "2147483648")},
	"tuntype": {long: "tun-type", good: []string{"ipip", "gue", "gre"}, bad: []string{"", "GUE", "vxlan"}},
	"tunport": {long: "tun-port", good: []string{"1", "6080", "65535"}, bad: append(numbers, "0", "65536")},
	"nocsum":  {long: "tun-nocsum"}, "csum": {long: "tun-csum"}, "remcsum": {long: "tun-remcsum"},
	"numeric": {short: "n", long: "numeric"}, "conns": {short: "c", long: "connection"}, "exact": {short: "X", long: "exact"},
	"stats": {long: "stats"}, "rate": {long: "rate"}, "thresholds": {long: "thresholds"}, "pconns": {long: "persistent-conn"},
	"tuninfo": {long: "tun-info"}, "timeout": {long: "timeout"}, "daemon": {long: "daemon"}, "nosort": {long: "nosort"}, "sort": {long: "sort"},
	"syncid": {long: "syncid", good: []string{"0", "7", "255"}, bad: append(numbers, "256")},
	"maxlen": {long: "sync-maxlen", good: []string{"1000", "1400"}, bad: append(numbers, "0", "65508")},
	"iface":  {long: "mcast-interface", good: []string{"eth0", "lo"}, bad: []string{"none0", "a-name-that-is-too-long", "", "fifteen-letters", "eth0 "}},
	"group":  {long: "mcast-group", good: []string{"224.0.0.90", "ff02::90"}, bad: []string{"", "10.0.0.1", "nohost", "fe80::1", "224.0.0", "224.0.0.90 ", "239.255.255.255", "ff02::90%lo", "::ffff:224.0.0.1", "0xe0000001", "224.1"}},
	"mport":  {long: "mcast-port", good: []string{"8848", "9000"}, bad: append(numbers, "0", "65536")},
	"ttl":    {long: "mcast-ttl", good: []string{"1", "255"}, bad: append(numbers, "0", "256")},
}

// service stands for one of the options that name a service.
const service = "service"

// commands are what one may say with which options: those before the bar must be
// there.
var commands = []struct{ spellings, options string }{
	{"-A --add-service", "service | sched persist mask pe ops flags"},
	{"-E --edit-service", "service | sched persist mask pe ops flags"},
	{"-D --delete-service", "service |"},
	{"-a --add-server", "service server | nat dr tun weight upper lower"},
	{"-a --add-server", "service server tun | weight tuntype tunport nocsum csum remcsum"},
	{"-e --edit-server", "service server | nat dr tun weight upper lower"},
	{"-e --edit-server", "service server tun | weight tuntype tunport nocsum csum remcsum"},
	{"-d --delete-server", "service server |"},
	{"-C --clear", "|"},
	{"-L -l --list", "| numeric stats rate thresholds pconns nosort sort syncid exact tuninfo"},
	{"-L -l --list", "service | numeric stats rate thresholds pconns nosort exact tuninfo"},
	{"-L -l --list", "| numeric conns timeout daemon pconns nosort"},
	{"-S --save", "| numeric"},
	{"-Z --zero", "|"},
	{"-Z --zero", "service |"},
	{"--set", "|"},
	{"--start-daemon=master --start-daemon=backup", "iface | syncid maxlen group mport ttl"},
	{"--stop-daemon=master --stop-daemon=backup", "| syncid"},
}

// liner makes random command lines.
type liner struct{ *rand.Rand }

// line is a command line, right or with something wrong in it. inOrder has its
// options in the order that ipvsadm wants, in which argv may not have them.
func (l *liner) line() (argv, inOrder []string) {
	const values, options, order, text, letters = 0, 1, 2, 3, 4 // what may be wrong
	wrong := l.IntN(10)
	command, names := l.command()
	if wrong == options {
		names = l.spoil(names)
	}
	var groups [][]string
	for _, name := range names {
		groups = append(groups, l.option(name, wrong == values && l.IntN(2) == 0))
	}
	inOrder = slices.Concat(command, slices.Concat(groups...))
	argv = slices.Clone(inOrder)
	switch wrong {
	case order:
		l.Shuffle(len(groups), func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
		argv = slices.Concat(command, slices.Concat(groups...))
	case text:
		argv = l.disturb(argv)
		inOrder = slices.Clone(argv)
	case letters:
		for range 1 + l.IntN(2) {
			argv = l.garble(argv)
		}
		inOrder = slices.Clone(argv)
	}
	return argv, inOrder
}

// command is a command with names of options that go with it.
func (l *liner) command() (command, names []string) {
	c := commands[l.IntN(len(commands))]
	must, may, _ := strings.Cut(c.options, "|")
	names = strings.Fields(must)
	for name := range strings.FieldsSeq(may) {
		if l.IntN(4) == 0 {
			names = append(names, name)
		}
	}
	command = []string{l.of(strings.Fields(c.spellings))}
	if command[0] == "--set" {
		command = append(command, l.of([]string{"100", "0", "2678400"}), l.of([]string{"10", "0"}), l.of([]string{"300", "1"}))
	}
	return command, names
}

// spoil takes an option away, repeats one, or adds one that may not belong there.
func (l *liner) spoil(names []string) []string {
	i := l.IntN(len(names) + 1)
	switch l.IntN(3) {
	case 0:
		if i < len(names) {
			return slices.Delete(names, i, i+1)
		}
	case 1:
		if i < len(names) {
			return append(names, names[i])
		}
	}
	return slices.Insert(names, i, l.of(slices.Sorted(maps.Keys(words))))
}

// option spells an option with a value.
func (l *liner) option(name string, bad bool) []string {
	if name == service {
		name = l.of([]string{"tcp", "tcp", "tcp", "udp", "sctp", "mark", "mark6"})
		if name == "mark6" {
			return append(l.option("mark", bad), l.option("6", bad)...)
		}
	}
	w := words[name]
	spelling := "--" + w.long
	if w.short != "" && l.IntN(3) > 0 {
		spelling = "-" + w.short
	}
	if len(w.good) == 0 || w.optional && l.IntN(3) == 0 {
		return []string{spelling}
	}
	value := l.of(w.good)
	if bad {
		value = l.of(append(w.bad[:len(w.bad):len(w.bad)], w.good...))
	}
	switch l.IntN(5) {
	case 0:
		return []string{spelling + "=" + value}
	case 1:
		if spelling[1] != '-' && value != "" && value[0] != '=' {
			return []string{spelling + value}
		}
	}
	return []string{spelling, value}
}

// disturb puts in or takes out a word, or joins two.
func (l *liner) disturb(argv []string) []string {
	i := l.IntN(len(argv) + 1)
	switch l.IntN(6) {
	case 0, 1:
		return slices.Insert(argv, i, l.of([]string{"foo", "-", "--", "", "-q", "--nope", "-n", "-L", "-h", "--version", "-Cn", "--list=1", "-=", "--=x", "-nq", "4", "--numeric=1", "-6"}))
	case 2, 3:
		if i < len(argv) {
			return slices.Delete(argv, i, i+1)
		}
	case 4:
		if i+1 < len(argv) && argv[i] != "" && strings.HasPrefix(argv[i+1], "-") && !strings.HasPrefix(argv[i+1], "--") {
			argv[i] += argv[i+1][1:]
			return slices.Delete(argv, i+1, i+2)
		}
	}
	return argv
}

// garble changes the letters of a word, or where words begin and end.
func (l *liner) garble(argv []string) []string {
	if len(argv) == 0 {
		return argv
	}
	i, j := l.IntN(len(argv)), l.IntN(len(argv))
	w := argv[i]
	at := l.IntN(len(w) + 1)
	switch l.IntN(8) {
	case 0:
		argv[i] = w[:at] + "=" + w[at:]
	case 1:
		argv[i] = w[:at] + l.of(strings.Split("-|,|:|.|[|]|0|1|n|L|m|t|p|%lo| |/|#", "|")) + w[at:]
	case 2:
		if at < len(w) {
			argv[i] = w[:at] + w[at+1:]
		}
	case 3:
		argv[i] = w[:at] // an abbreviation
	case 4: // another word
		argv = slices.Insert(argv, j, w)
	case 5:
		argv[i], argv[j] = argv[j], argv[i]
	case 6: // one word is two
		argv[i] = w[:at]
		argv = slices.Insert(argv, i+1, w[at:])
	case 7: // two words are one
		if i+1 < len(argv) {
			argv[i] += l.of([]string{"", "=", "=="}) + argv[i+1]
			argv = slices.Delete(argv, i+1, i+2)
		}
	}
	return argv
}

func (l *liner) of(choice []string) string { return choice[l.IntN(len(choice))] }
