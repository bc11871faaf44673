package healthcheck

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"strings"
)

// pop3Check is a mailbox server's greeting, STLS where asked for, and with a
// login APOP or USER and PASS, then STAT (RFC 1939, 2595).
type pop3Check struct {
	*security
	receive         matcher
	login, password string
}

func pop3(c Check) (look, error)  { return newPOP3(c, tlsOff, tlsStartTLS, tlsOn) }
func pop3s(c Check) (look, error) { return newPOP3(c, tlsOn) }

func newPOP3(c Check, modes ...string) (look, error) {
	if err := bothOrNone(c); err != nil {
		return nil, err
	}
	s, err := newSecurity(c, modes...)
	if err != nil {
		return nil, err
	}
	m, err := newMatcher(c.Receive)
	return pop3Check{s, m, c.Login, c.Password}.look, err
}

func (p pop3Check) look(ctx context.Context, d *Dialer) error {
	d.limit(maxAnswer)
	t, err := d.talk(ctx, p.security)
	if err != nil {
		return err
	}
	banner, err := t.command("greeting", "")
	if err != nil {
		return err
	}
	if p.mode == tlsStartTLS {
		if _, err := t.command("stls", "STLS"); err != nil {
			return err
		}
		if err := t.startTLS(ctx, p.config); err != nil {
			return err
		}
	}
	if p.login != "" {
		if err := p.enter(t, banner); err != nil {
			return err
		}
	}
	err = t.expect(p.receive)
	t.leave("QUIT")
	return err
}

// enter logs in and looks into the mailbox. In clear it uses APOP when the
// greeting has the challenge for it, so that the password stays here.
func (p pop3Check) enter(t *talk, banner string) error {
	doing := "login " + p.login
	steps := [][2]string{{doing, "USER " + p.login}, {doing, "PASS " + p.password}, {"stat", "STAT"}}
	if challenge := apopChallenge(banner); challenge != "" && p.mode == tlsOff {
		sum := md5.Sum([]byte(challenge + p.password))
		steps = [][2]string{{"apop " + doing, "APOP " + p.login + " " + hex.EncodeToString(sum[:])}, {"stat", "STAT"}}
	}
	for _, s := range steps {
		if _, err := t.command(s[0], s[1]); err != nil {
			return err
		}
	}
	return nil
}

// apopChallenge is the <...> in a greeting, "" for none.
func apopChallenge(banner string) string {
	from := strings.IndexByte(banner, '<')
	if from < 0 {
		return ""
	}
	to := strings.IndexByte(banner[from:], '>')
	if to < 0 || !strings.Contains(banner[from:from+to], "@") {
		return ""
	}
	return banner[from : from+to+1]
}

// command sends a line, if there is one, and reads POP3's answer, which must
// be +OK.
func (t *talk) command(doing, line string) (string, error) {
	if err := t.say(doing, line); err != nil {
		return "", err
	}
	answer, err := t.ReadLine()
	if err != nil {
		return "", t.failed(doing, err)
	}
	if word, _, _ := strings.Cut(answer, " "); word != "+OK" {
		return "", t.refused(doing, answer)
	}
	return answer, nil
}
