package importer

import (
	"net/netip"
	"strings"

	"github.com/goipvs/goipvs/config"
)

// Keepalived converts the virtual servers of a keepalived.conf; file is its name
// in messages. VRRP is none of goipvs' business and is told as lost, block by
// block.
func Keepalived(file string, src []byte, opt Options) Result {
	k := &keepalived{builder: newBuilder(opt), groups: map[string]*block{}, locals: map[string][]netip.Addr{}, mailWords: map[string]bool{}}
	r := &lineReader{builder: k.builder, defs: map[string][]string{}}
	r.file(file, string(src))
	blocks := r.tree()
	k.cfg.OnStop = config.StopFlush // it takes its services along when it ends
	k.cfg.Policy.Quiescent, k.cfg.Policy.Unchecked = false, config.UncheckedUp
	for _, b := range blocks {
		if !k.skipped(b) {
			k.top(b)
		}
	}
	k.mails()
	for _, b := range k.virtuals {
		k.virtual(b)
	}
	return k.result()
}

type keepalived struct {
	*builder
	groups   map[string]*block       // virtual_server_group by name
	locals   map[string][]netip.Addr // local_address_group by name (DPVS)
	virtuals []*block
	cert     string // of the SSL block, for SSL_GET
	key      string

	mailWords map[string]bool // of global_defs, about mail of checks
	mailing   bool            // somebody would get it
}

// skipped tells, and says, that a condition leaves a line out.
func (k *keepalived) skipped(b *block) bool {
	if b.skip == "" {
		return false
	}
	k.lose(b.place, "%s: the line %s: left out (--config-id)", clip(b.name()), b.skip)
	return true
}

// top converts a block of the file's top level.
func (k *keepalived) top(b *block) {
	switch name := b.name(); {
	case name == "global_defs" || name == "bal_defs":
		k.each(b, k.globalLine)
	case name == "virtual_server_group":
		if first := k.groups[b.arg(0)]; first != nil {
			k.lose(b.place, "%s: it is there already, at line %d, which counts", k.show(b), first.line)
			return
		}
		k.groups[b.arg(0)] = b
	case name == "virtual_server":
		k.virtuals = append(k.virtuals, b)
	case name == "local_address_group":
		k.localGroup(b)
	case name == "SSL":
		k.each(b, k.sslLine)
		if (k.cert == "") != (k.key == "") {
			k.lose(b.place, "SSL: certificate and key go together: left out")
			k.cert, k.key = "", ""
		}
	case strings.HasPrefix(name, "vrrp_") || name == "garp_group":
		k.lose(b.place, "%s: VRRP is not goipvs' work: keep keepalived for it (%s)", clip(strings.Join(b.words, " ")), count(b.lines(), "line"))
	case strings.HasPrefix(name, "static_") || strings.HasPrefix(name, "track_") || strings.HasPrefix(name, "bfd") || b.open:
		k.lose(b.place, "%s: no equivalent (%s)", clip(strings.Join(b.words, " ")), count(b.lines(), "line"))
	case set("net_namespace net_namespace_ipvs instance use_pid_dir linkbeat_use_polling child_wait_time")[name]:
		k.lost(b, noLike)
	default:
		k.lose(b.place, "not understood: %s", k.show(b))
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return itoa(n) + " " + what + "s"
}

// each calls f with the lines of a block that count.
func (k *keepalived) each(b *block, f func(*block)) {
	for _, s := range b.sub {
		if !k.skipped(s) {
			f(s)
		}
	}
}

// show is a line for messages. A definition that does not exist is shown as it
// was written.
func (k *keepalived) show(b *block) string {
	text, _ := undefined(strings.Join(b.words, " "))
	return clip(text)
}

// lost is for a line without an equivalent.
func (k *keepalived) lost(b *block, why string) { k.lose(b.place, "%s: %s", k.show(b), why) }

const noLike = "no equivalent"

func (k *keepalived) sslLine(b *block) {
	switch b.name() {
	case "certificate":
		k.cert = k.file(b)
	case "key", "keyfile":
		k.key = k.file(b)
	default:
		k.lost(b, noLike)
	}
}

// file is the path of a line, from /.
func (k *keepalived) file(b *block) string {
	text, undef := undefined(b.arg(0))
	if undef || !strings.HasPrefix(text, "/") {
		k.lost(b, "no path from /")
		return ""
	}
	return text
}

// localGroup reads DPVS's source addresses of full NAT.
func (k *keepalived) localGroup(b *block) {
	for _, s := range b.sub {
		list, err := rangeWord(s.name())
		if err != nil {
			k.lost(s, err.Error())
			continue
		}
		k.locals[b.arg(0)] = append(k.locals[b.arg(0)], list...)
	}
}
