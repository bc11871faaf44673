package healthcheck

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/internal/testserver"
)

// mailPorts are where a mail system listens, with one certificate.
type mailPorts struct{ imap, imaps, pop3, pop3s uint16 }

// stranger is an address of ours from which nobody may log in without TLS.
var stranger = netip.MustParseAddr("127.0.0.9")

// startDovecot runs mailboxes, of which user monitor has one; sasl is where it
// tells others who may log in.
func startDovecot(t *testing.T, cert testserver.Certificate) (p mailPorts, sasl string) {
	p = mailPorts{testserver.Port(t), testserver.Port(t), testserver.Port(t), testserver.Port(t)}
	dir := testserver.Dir(t, map[string]string{"mail/.keep": ""})
	testserver.Give(t, dir+"/mail", "nobody")
	listener := func(name string, port uint16, ssl string) string {
		return fmt.Sprintf("inet_listener %s {\n port = %d\n ssl = %s\n}\n", name, port, ssl)
	}
	testserver.Write(t, dir+"/dovecot.conf", strings.ReplaceAll(strings.ReplaceAll(`
protocols = imap pop3
base_dir = DIR/run
state_dir = DIR/state
listen = 127.0.0.1
log_path = /dev/stderr
ssl = yes
ssl_cert = <`+cert.CertFile+`
ssl_key = <`+cert.KeyFile+`
disable_plaintext_auth = no
remote STRANGER {
  disable_plaintext_auth = yes
}
auth_mechanisms = plain login apop
auth_failure_delay = 0
mail_location = mbox:DIR/mail/%u
first_valid_uid = 1
first_valid_gid = 1
passdb {
  driver = static
  args = user=monitor password=watchword
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=DIR/mail
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service auth {
  unix_listener sasl {
    mode = 0666
  }
}
service imap-login {
`+listener("imap", p.imap, "no")+listener("imaps", p.imaps, "yes")+`}
service pop3-login {
`+listener("pop3", p.pop3, "no")+listener("pop3s", p.pop3s, "yes")+`}
`, "DIR", dir), "STRANGER", stranger.String()))
	s := testserver.Start(t, testserver.Program{Path: "dovecot", Args: []string{"-F", "-c", dir + "/dovecot.conf"}})
	for _, port := range []uint16{p.imap, p.imaps, p.pop3, p.pop3s} {
		s.AwaitPort(port)
	}
	return p, dir + "/run/sasl"
}

func TestMailbox(t *testing.T) {
	t.Parallel()
	testserver.Need(t, "dovecot-imapd", "dovecot-pop3d")
	certs := newCertificates(t)
	good, _ := startDovecot(t, certs.good)
	expired, _ := startDovecot(t, certs.expired)
	typed := func(name string) Check { return Check{Type: name, Login: "monitor", Password: "watchword"} }

	imap := typed("imap")
	examine(t, certs.states(certs.trust(imap, "starttls"), good.imap, expired.imap)...)
	examine(t, certs.states(certs.trust(typed("imaps"), ""), good.imaps, expired.imaps)...)
	examine(t,
		row("imap up", Check{Type: "imap"}, good.imap, ""),
		downState(t, Check{Type: "imap"}),
		row("imap login", imap, good.imap, ""),
		row("imap mailbox", with(imap, func(c *Check) { c.Request, c.Receive = "INBOX", `\* 0 EXISTS` }), good.imap, ""),
		row("imap no such mailbox", with(imap, func(c *Check) { c.Request = `No "such"` }), good.imap, `imap examine No "such": NO Mailbox doesn't exist`),
		row("imap wrong password", with(imap, func(c *Check) { c.Password = `wrong"\` }), good.imap, "imap login monitor: NO [AUTHENTICATIONFAILED] Authentication failed."),
		row("imap wrong password in UTF-8", with(imap, func(c *Check) { c.Password = `päss` }), good.imap, "imap login monitor: NO [AUTHENTICATIONFAILED]"),
		row("imap capability", Check{Type: "imap", Receive: "IMAP4rev1.*IDLE"}, good.imap, ""),
		row("imap wrong answer", Check{Type: "imap", Receive: "Cyrus"}, good.imap, `imap: the answer does not match "Cyrus": * OK [CAPABILITY`),
		row("imap port of pop3", Check{Type: "imap"}, good.pop3, "imap greeting: +OK Dovecot"),
	)

	pop3 := typed("pop3")
	for _, s := range []state{
		row("no password in clear", imap, good.imap, "imap login monitor: the server takes no login in clear, but offers STARTTLS"),
		row("login inside of TLS", certs.trust(imap, "starttls"), good.imap, ""),
		row("no login", Check{Type: "imap"}, good.imap, ""),
	} {
		target := loopback(s.port)
		target.Source = stranger
		judgeState(t, s, lookAt(t, s.check, target))
	}
	examine(t, certs.states(certs.trust(pop3, "starttls"), good.pop3, expired.pop3)...)
	examine(t, certs.states(certs.trust(typed("pop3s"), ""), good.pop3s, expired.pop3s)...)
	examine(t,
		row("pop3 up", Check{Type: "pop3"}, good.pop3, ""),
		row("pop3 down", Check{Type: "pop3"}, testserver.Port(t), "connection refused"),
		row("pop3 login by APOP", with(pop3, func(c *Check) { c.Receive = `\+OK 0 0` }), good.pop3, ""),
		row("pop3 wrong password by APOP", with(pop3, func(c *Check) { c.Password = "wrong" }), good.pop3, "pop3 apop login monitor: -ERR [AUTH] Authentication failed."),
		row("pop3s wrong password", with(certs.trust(typed("pop3s"), ""), func(c *Check) { c.Password = "wrong" }), good.pop3s, "pop3s login monitor: -ERR [AUTH] Authentication failed."),
		row("pop3 wrong answer", Check{Type: "pop3", Receive: "Cyrus"}, good.pop3, `does not match "Cyrus": +OK Dovecot`),
		row("pop3 port of imap", Check{Type: "pop3"}, good.imap, "pop3 greeting: * OK [CAPABILITY"),
	)
}

// startPostfix runs a mail server: smtp without logins, submission with TLS
// and logins, old shows an expired certificate, wrapped speaks TLS at once.
func startPostfix(t *testing.T, certs certificates, sasl string) (smtp, submission, old, wrapped uint16) {
	smtp, submission, old, wrapped = testserver.Port(t), testserver.Port(t), testserver.Port(t), testserver.Port(t)
	const logins = "-o smtpd_sasl_auth_enable=yes -o smtpd_tls_security_level="
	testserver.StartPostfix(t, certs.good, "smtpd_sasl_type = dovecot\nsmtpd_sasl_path = "+sasl+"\n", map[uint16]string{
		smtp:       "",
		submission: logins + "encrypt",
		old:        logins + "may" + fmt.Sprintf(" -o smtpd_tls_cert_file=%s -o smtpd_tls_key_file=%s", certs.expired.CertFile, certs.expired.KeyFile),
		wrapped:    "-o smtpd_tls_wrappermode=yes",
	})
	return smtp, submission, old, wrapped
}

func TestMailServer(t *testing.T) {
	t.Parallel()
	testserver.Need(t, "dovecot-imapd", "postfix")
	certs := newCertificates(t)
	_, sasl := startDovecot(t, certs.good)
	smtp, submission, old, wrapped := startPostfix(t, certs, sasl)

	plain := Check{Type: "smtp"}
	login := Check{Type: "submission", Login: "monitor", Password: "watchword"}
	smtpLogin := with(login, func(c *Check) { c.Type = "smtp" })
	examine(t, certs.states(certs.trust(login, "starttls"), submission, old)...)
	examine(t, certs.states(certs.trust(plain, "starttls"), submission, old)...)
	examine(t,
		row("up", plain, smtp, ""),
		downState(t, plain),
		row("submission without login", Check{Type: "submission"}, submission, ""),
		row("smtps", certs.trust(plain, "on"), wrapped, ""),
		row("banner", with(plain, func(c *Check) { c.Receive = "ESMTP Postfix" }), smtp, ""),
		row("wrong answer", with(plain, func(c *Check) { c.Receive = "Exim" }), smtp, `smtp: the answer does not match "Exim": 220 mail.goipvs.test`),
		row("wrong password", with(certs.trust(login, "starttls"), func(c *Check) { c.Password = "wrong" }), submission, "submission auth monitor: 535 5.7.8 Error: authentication failed"),
		row("login in clear", login, old, ""),
		row("login in clear where the server wants TLS", login, submission, "submission auth monitor: the server takes no login in clear, but offers STARTTLS"),
		row("no STARTTLS", certs.trust(login, "starttls"), smtp, "submission starttls: 502 5.5.1 Error: command not implemented"),
		row("no logins", smtpLogin, smtp, "smtp auth monitor: the server offers neither"),
	)
}
