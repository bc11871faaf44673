package importer

import (
	"cmp"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// virtualLine takes a line of a virtual_server.
func (k *keepalived) virtualLine(v *kaVirtual, b *block) {
	s := &v.Service
	switch name, arg := b.name(), b.arg(0); name {
	case "lb_algo", "lvs_sched":
		if arg == "" || len(arg) > 15 || strings.Trim(arg, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
			k.lost(b, "no name of a scheduler: wlc is taken")
			return
		}
		s.Scheduler = arg
	case "lb_kind", "lvs_method":
		if m, ok := k.methodOf(b); ok {
			v.method, v.ssh = m, true
		}
	case "protocol":
		p, ok := map[string]ipvs.Protocol{"tcp": ipvs.TCP, "udp": ipvs.UDP, "sctp": ipvs.SCTP}[strings.ToLower(arg)]
		if !ok {
			k.lost(b, "no protocol of IPVS")
			return
		}
		v.protocol = p
	case "ip_family":
		switch arg {
		case "inet":
			v.family = ipvs.IPv4
		case "inet6":
			v.family = ipvs.IPv6
		default:
			k.lost(b, "no family")
		}
	case "persistence_timeout":
		k.persistence(v, b)
	case "persistence_granularity":
		v.mask = b
	case "persistence_engine":
		s.PE = arg
	case "ops":
		s.Flags |= ipvs.OnePacket
	case "quorum":
		if n, ok := k.number(b, 1, math.MaxInt32); ok {
			v.Quorum = n
		}
	case "quorum_up":
		v.Notify.Up = k.script(b)
	case "quorum_down":
		v.Notify.Down = k.script(b)
	case "sorry_server":
		v.sorry = b
	case "sorry_server_lvs_method", "sorry_server_lb_kind":
		if m, ok := k.methodOf(b); ok {
			v.sorryBy = &m
		}
	case "weight":
		if n, ok := k.number(b, 0, 65535); ok {
			v.weight = int32(n)
		}
	case "laddr_group_name":
		if v.FullNAT.Local = k.locals[arg]; v.FullNAT.Local == nil {
			k.lost(b, "there is no such local_address_group")
		}
	case "hysteresis":
		if n, ok := k.number(b, 0, math.MaxInt32); ok {
			v.Hysteresis = n
		}
	case "alpha", "inhibit_on_failure", "virtualhost", "smtp_alert":
		k.flagLine(&v.defaults, b)
	default:
		if f, ok := schedFlag(name, s.Scheduler); ok || strings.HasPrefix(name, "flag-") {
			s.Flags |= f
		} else if strings.HasSuffix(name, "-port") || strings.HasSuffix(name, "-fallback") {
			k.lost(b, "no flag of "+s.Scheduler)
		} else if !k.timing(&v.defaults, b) {
			k.lost(b, noLike)
		}
	}
}

func (k *keepalived) persistence(v *kaVirtual, b *block) {
	seconds := 360
	if b.arg(0) != "" {
		n, ok := k.number(b, 1, 31*86400)
		if !ok {
			return
		}
		seconds = n
	}
	v.Service.Flags |= ipvs.Persistent
	v.Service.Timeout = time.Duration(seconds) * time.Second
}

// methodOf reads NAT, DR, TUN [type ipip|gre|gue port N] [nocsum|csum|remcsum].
func (k *keepalived) methodOf(b *block) (m kaMethod, ok bool) {
	switch strings.ToUpper(b.arg(0)) {
	case "NAT":
		m.method = ipvs.NAT
	case "DR":
		m.method = ipvs.DirectRoute
	case "TUN":
		m.method = ipvs.Tunnel
	case "FNAT":
		m.method = ipvs.FullNAT
	default:
		k.lost(b, "no forwarding method")
		return m, false
	}
	if b.arg(0) != strings.ToUpper(b.arg(0)) {
		k.lost(b, "keepalived does not know small letters and takes NAT; here it is what it says")
	}
	words := b.words[2:]
	for i := 0; i < len(words); i++ {
		value := ""
		if i+1 < len(words) {
			value = words[i+1]
		}
		switch words[i] {
		case "type":
			i++
			ok = m.encap.Type.UnmarshalText([]byte(value)) == nil && strings.Trim(value, "0123456789") != ""
		case "port":
			i++
			n, err := strconv.ParseUint(value, 10, 16)
			m.encap.Port, ok = uint16(n), err == nil
		case "nocsum":
			ok = true
		case "csum":
			m.encap.Flags, ok = ipvs.Csum, true
		case "remcsum":
			m.encap.Flags, ok = ipvs.RemCsum, true
		default:
			ok = false
		}
		if !ok || m.method != ipvs.Tunnel {
			k.lost(b, "not understood")
			return kaMethod{method: m.method}, true
		}
	}
	return m, true
}

// number reads the line's number, or says what is wrong with it.
func (k *keepalived) number(b *block, low, high int) (int, bool) {
	n, err := strconv.Atoi(b.arg(0))
	if err != nil || n < low || n > high {
		k.lost(b, "want a number from "+itoa(low)+" to "+itoa(high))
		return 0, false
	}
	return n, true
}

// script is the command of a line.
func (k *keepalived) script(b *block) []string {
	if len(b.words) > 2 {
		if user := k.user(b, b.words[2:]); user != "" && user != k.cfg.CommandUser {
			k.lost(b, "it runs as the user of all commands, "+cmp.Or(k.cfg.CommandUser, "the daemon's"))
		}
	}
	return argv(k.commandText(b, b.arg(0)))
}

// commandText is a command without definitions that do not exist.
func (k *keepalived) commandText(b *block, s string) string {
	text, undef := undefined(s)
	if undef {
		k.lost(b, "a definition is missing: the command is left out")
		return ""
	}
	if strings.TrimSpace(text) == "" || strings.Map(printable, text) != text {
		k.lost(b, "no command")
		return ""
	}
	return text
}

// user reads USER [GROUP].
func (k *keepalived) user(b *block, words []string) string {
	if len(words) > 2 || len(words) == 0 {
		k.lost(b, "no user and group")
		return ""
	}
	text, undef := undefined(strings.Join(words, ":"))
	if undef || text == "" || strings.ContainsAny(text, " \t") || strings.Map(printable, text) != text {
		k.lost(b, "no user and group")
		return ""
	}
	return text
}

// argv is a command in a shell's words, as keepalived runs it: without a shell.
// One that looks as if it were meant for a shell gets one, and so does one that
// is found by its name.
func argv(text string) []string {
	if text == "" {
		return nil
	}
	if words, ok := shellWords(text); ok && shellFree(text) && strings.HasPrefix(words[0], "/") {
		return words
	}
	return []string{"/bin/sh", "-c", text}
}
