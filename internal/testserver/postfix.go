package testserver

import (
	"fmt"
	"strings"
	"testing"
)

// StartPostfix runs Postfix, mail.goipvs.test, with this certificate: main are
// more lines of main.cf, listeners the options of the smtpd at each port of
// 127.0.0.1. What it takes it delivers by virtual(8), or not at all.
func StartPostfix(t testing.TB, cert Certificate, main string, listeners map[uint16]string) {
	t.Helper()
	dir := Dir(t, map[string]string{"spool/.keep": "", "data/.keep": ""})
	Give(t, dir+"/data", "postfix")
	Write(t, dir+"/main.cf", fmt.Sprintf(`
compatibility_level = 3.6
queue_directory = %[1]s/spool
data_directory = %[1]s/data
myhostname = mail.goipvs.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
maillog_file = %[1]s/log
maillog_file_prefixes = /
smtpd_tls_cert_file = %[2]s
smtpd_tls_key_file = %[3]s
smtpd_error_sleep_time = 0
alias_maps =
alias_database =
`, dir, cert.CertFile, cert.KeyFile)+main)
	var master strings.Builder
	for port, options := range listeners {
		fmt.Fprintf(&master, "127.0.0.1:%d inet n - n - - smtpd %s\n", port, options)
	}
	master.WriteString(`postlog unix-dgram n - n - 1 postlogd
anvil unix - - n - 1 anvil
rewrite unix - - n - - trivial-rewrite
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
virtual unix - n n - - virtual
`)
	Write(t, dir+"/master.cf", master.String())
	Run(t, Program{Path: "postfix", Args: []string{"-c", dir, "check"}}) // makes the queue's folders
	p := Start(t, Program{Path: "/usr/lib/postfix/sbin/master", Args: []string{"-d", "-c", dir}, Env: []string{"MAIL_CONFIG=" + dir}})
	for port := range listeners {
		p.AwaitPort(port)
	}
}
