package importer

import (
	"net"
	"net/mail"
	"path/filepath"
	"strings"
	"time"

	"github.com/goipvs/goipvs/config"
)

// globals converts the global directives.
func (l *ldirectord) globals() {
	g, c := &l.global, l.cfg
	c.Autoreload = l.yes(g.get("autoreload"), false)
	c.Policy.Quiescent = l.yes(g.get("quiescent"), false) // its manual says yes, its code no
	if c.OnStop = config.StopFlush; !l.yes(g.get("cleanstop"), true) {
		c.OnStop = config.StopKeep
	}
	c.Check.Interval = l.seconds(g.get("checkinterval"), 10)
	c.Check.Fall = l.failures(g.get("failurecount"))
	if d := g.get("maintenancedir"); d.known() {
		if filepath.IsAbs(d.value) {
			l.daemon(d.place, func(c *config.Config) { c.MaintenanceDir = d.value })
		} else {
			l.lose(d.place, "maintenancedir: %s is no path from /", clip(d.value))
		}
	}
	l.mail()
	for name, why := range map[string]string{
		"callback":   "goipvs runs nothing when the file changes; autoreload loads it",
		"logfile":    "goipvsd logs to standard error, which systemd keeps",
		"execute":    "goipvsd starts no other daemon; one file can hold all services",
		"supervised": "that is goipvsd --foreground",
	} {
		if d := g.get(name); d.known() && d.value != "" && d.value != "no" {
			l.lose(d.place, "%s: %s", name, why)
		}
	}
	l.yes(g.get("fork"), false) // checks never wait for each other here
	if d := g.get("readdquiescent"); d.known() && !l.yes(d, true) {
		l.lose(d.place, `readdquiescent: what is missing in the table is always put back; on_drift = "report" would leave it`)
	}
}

// failures is a failurecount, 1 to 1000.
func (l *ldirectord) failures(d directive) int {
	n := max(l.number(d, 1), 1)
	if n > 1000 {
		l.lose(d.place, "%s: %d is more than 1000, which is taken", d.name, n)
	}
	return min(n, 1000)
}

// seconds is a length of time that the configuration can hold; 0 is no interval.
func (l *ldirectord) seconds(d directive, def int) time.Duration {
	n := l.number(d, def)
	if n < 1 || n > 86400 {
		l.lose(d.place, "%s: %d is not within 1 to 86400", d.name, n)
		n = def
	}
	return time.Duration(n) * time.Second
}

// mail sets [alert]. Without a mail server of its own ldirectord has the local
// sendmail.
func (l *ldirectord) mail() {
	g := &l.global
	l.smtp(g.get("smtp"))
	l.mailboxes(g.get("emailalert"))
	if d := g.get("emailalertfrom"); d.known() {
		from := d.value
		if named, err := mail.ParseAddress(from); err == nil { // "Somebody" <mailbox>
			from = named.Address
		}
		if isMailbox(from) {
			l.daemon(d.place, func(c *config.Config) { c.Alert.MailFrom = from })
		} else {
			l.lose(d.place, "emailalertfrom: %s is no mail address", clip(d.value))
		}
	}
	if d := g.get("emailalertfreq"); d.known() {
		n := l.number(d, 0)
		l.daemon(d.place, func(c *config.Config) { c.Alert.Repeat = time.Duration(n) * time.Second })
	}
	if d := g.get("emailalertstatus"); d.known() && d.value != "all" && len(l.cfg.Alert.MailTo) > 0 {
		l.lose(d.place, "emailalertstatus: goipvs mails events, see [alert] on")
	}
}

func (l *ldirectord) smtp(d directive) {
	switch {
	case d.known() && (isName(d.value) || isAddress(d.value)):
		l.daemon(d.place, func(c *config.Config) { c.Alert.SMTP = net.JoinHostPort(strings.Trim(d.value, "[]"), "25") })
	case d.known():
		l.lose(d.place, "smtp: %s is no host", clip(d.value))
	}
}

func (l *ldirectord) mailboxes(d directive) {
	for _, m := range strings.FieldsFunc(d.value, func(r rune) bool { return r == ',' || r == ' ' || r == '"' }) {
		if !isMailbox(m) {
			l.lose(d.place, "%s: %s is no mail address", d.name, clip(m))
			continue
		}
		l.mailTo(d.place, m)
	}
}

func isMailbox(s string) bool {
	return s != "" && !strings.ContainsAny(s, "<>,;\"'") && strings.Count(s, "@") <= 1 && s[0] != '@' && s[len(s)-1] != '@' && isASCII(s)
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
