package alert

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/testserver"
)

// startPostfix is a mail server that insists on TLS and has mailboxes for some
// addresses, which are folders of what is returned.
func startPostfix(t *testing.T, cert testserver.Certificate, boxes ...string) (addr, mail string) {
	mail = testserver.Dir(t, nil)
	testserver.Give(t, mail, "nobody")
	var list strings.Builder
	for _, b := range boxes {
		fmt.Fprintf(&list, "{%s = %[1]s/} ", b)
	}
	port := testserver.Port(t)
	testserver.StartPostfix(t, cert, fmt.Sprintf(`
virtual_mailbox_domains = goipvs.test
virtual_mailbox_maps = inline:{%s}
virtual_mailbox_base = %s
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
`, list.String(), mail), map[uint16]string{port: "-o smtpd_tls_security_level=encrypt"})
	return fmt.Sprintf("127.0.0.1:%d", port), mail
}

// TestMailPostfix: a real mail server delivers, inside of TLS; an address that it
// does not know is told of, once, and keeps no mail from the others.
func TestMailPostfix(t *testing.T) {
	testserver.Need(t, "postfix")
	authority := testserver.NewAuthority(t)
	addr, mail := startPostfix(t, authority.Issue(t, time.Time{}, "127.0.0.1"), "ops@goipvs.test", "night@goipvs.test")
	var log lines
	run := Config{MailTo: []string{"ops@goipvs.test", "left@goipvs.test", "night@goipvs.test"}, MailFrom: "goipvsd@goipvs.test", SMTP: addr, CA: authority.File}
	a := runLogged(t, run, &log)
	a.Tell(down(1))
	for _, box := range []string{"ops@goipvs.test", "night@goipvs.test"} {
		var files []string
		await(t, "the mail of "+box, func() bool { files, _ = filepath.Glob(filepath.Join(mail, box, "new/*")); return len(files) > 0 })
		b, err := os.ReadFile(files[0])
		if err != nil || !strings.Contains(string(b), "real server down 10.0.0.1:80 of web") || !strings.Contains(string(b), "SMTPS id ") || len(files) != 1 {
			t.Errorf("%d mails for %s: %v\n%s", len(files), box, err, b)
		}
	}
	await(t, "a word of the one who left", func() bool { return strings.Contains(log.String(), "left@goipvs.test is refused: 550 ") })
	a.Tell(down(2))
	var first, second int
	await(t, "the next mail", func() bool {
		first, second = 0, 0
		files, _ := filepath.Glob(filepath.Join(mail, "night@goipvs.test", "new/*"))
		for _, f := range files {
			b, _ := os.ReadFile(f)
			first += strings.Count(string(b), "\nSubject: goipvs "+a.host+": real server down 10.0.0.1:80")
			second += strings.Count(string(b), "\nSubject: goipvs "+a.host+": real server down 10.0.0.2:80")
		}
		return second > 0
	})
	if first != 1 {
		t.Errorf("%d mails of the first alert", first)
	}
}
