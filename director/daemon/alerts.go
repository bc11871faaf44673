package daemon

import (
	"time"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/director/alert"
)

// repeatEvery is how often it is looked for alerts that are to be repeated.
const repeatEvery = time.Second

func alertConfig(c *config.Config) alert.Config {
	a := &c.Alert
	return alert.Config{On: a.On, Command: a.Command, User: c.CommandUser, Webhook: a.Webhook.Reveal(),
		MailTo: a.MailTo, MailFrom: a.MailFrom, SMTP: a.SMTP, CA: a.SMTPCA, Repeat: a.Repeat,
		Login: a.SMTPLogin, Password: a.SMTPPassword.Reveal(), Cert: a.SMTPCert, Key: a.SMTPKey}
}

// begins and ends are the events of what lasts.
var (
	begins = map[*director.EventKind]bool{director.ServerDown: true, director.FallbackOn: true, director.HoldBegan: true, director.ReloadFailed: true, director.ServiceDown: true, director.KernelLost: true}
	ends   = map[*director.EventKind]bool{director.ServerUp: true, director.FallbackOff: true, director.HoldEnded: true, director.Reloaded: true, director.ServiceUp: true, director.KernelBack: true}
)

// event passes on what happened: to systemd, to the counters, to people.
func (d *Daemon) event(e director.Event) {
	d.notify.happened(e)
	d.monitor.Event(e.Kind.Name)
	switch e.Kind {
	case director.ServerRemoved:
		d.alerts.Forget(e.Virtual, e.Server)
	case director.ServiceLeaving:
		d.alerts.Forget(e.Virtual, "")
	}
	word := e.Kind.Alert
	if e.Kind == director.Reloaded {
		word = director.ReloadFailed.Alert
	}
	if word == "" {
		return
	}
	if (e.Kind == director.ServerUp || e.Kind == director.ServiceUp) && e.First() {
		return // its first success is no recovery
	}
	a := alert.Event{Time: e.Time, Alert: word, Event: e.Kind.Name, Text: e.Kind.Brief,
		Virtual: e.Virtual, Real: e.Server, Reason: director.Clean(e.Reason), Begins: begins[e.Kind], Ends: ends[e.Kind]}
	if e.Kind == director.Reloaded {
		a.Quiet = true
	}
	d.alerts.Tell(a)
}
