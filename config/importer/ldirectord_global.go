package importer

import (
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/goipvs/goipvs/config"
)

// daemon converts the global directives.
func (l *ldirectord) daemon() {
	g, c := &l.global, l.cfg
	c.Autoreload = l.yes(g.get("autoreload"), false)
	c.Policy.Quiescent = l.yes(g.get("quiescent"), false) // its manual says yes, its code no
	if c.OnStop = config.StopFlush; !l.yes(g.get("cleanstop"), true) {
		c.OnStop = config.StopKeep
	}
	c.Check.Interval = l.seconds(g.get("checkinterval"), 10)
	c.Check.Fall = max(l.number(g.get("failurecount"), 1), 1)
	if d := g.get("maintenancedir"); d.known() {
		if filepath.IsAbs(d.value) {
			c.MaintenanceDir = d.value
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

// seconds is a length of time that the configuration can hold; 0 is no interval.
func (l *ldirectord) seconds(d directive, def int) time.Duration {
	n := l.number(d, def)
	if n < 1 || n > 86400 {
		l.lose(d.place, "%s: %d is not within 1 to 86400", d.name, n)
		n = def
	}
	return time.Duration(n) * time.Second
}

func (l *ldirectord) mail() {
	g, a := &l.global, &l.cfg.Alert
	a.MailTo = l.mailboxes(g.get("emailalert"))
	if d := g.get("emailalertfrom"); d.known() {
		if isMailbox(d.value) {
			a.MailFrom = d.value
		} else {
			l.lose(d.place, "emailalertfrom: %s is no mail address", clip(d.value))
		}
	}
	if d := g.get("emailalertfreq"); d.known() {
		a.Repeat = time.Duration(l.number(d, 0)) * time.Second
	}
	if d := g.get("emailalertstatus"); d.known() && d.value != "all" && len(a.MailTo) > 0 {
		l.lose(d.place, "emailalertstatus: goipvs mails events, see [alert] on")
	}
	l.smtp(g.get("smtp"), a)
}

// smtp sets the mail server; ldirectord needs none, it has the local sendmail.
func (l *ldirectord) smtp(d directive, a *config.Alert) {
	switch {
	case d.known() && (isName(d.value) || isAddress(d.value)):
		a.SMTP = net.JoinHostPort(strings.Trim(d.value, "[]"), "25")
	case d.known():
		l.lose(d.place, "smtp: %s is no host", clip(d.value))
	}
	if a.SMTP == "" && len(a.MailTo) > 0 {
		a.SMTP = "localhost:25"
	}
}

func (l *ldirectord) mailboxes(d directive) (out []string) {
	for _, m := range strings.FieldsFunc(d.value, func(r rune) bool { return r == ',' || r == ' ' || r == '"' }) {
		if !isMailbox(m) {
			l.lose(d.place, "%s: %s is no mail address", d.name, clip(m))
			continue
		}
		out = append(out, m)
	}
	return out
}

func isMailbox(s string) bool {
	return s != "" && !strings.ContainsAny(s, "<>,;\"'") && strings.Count(s, "@") <= 1 && s[0] != '@' && s[len(s)-1] != '@' && isASCII(s)
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
