package healthcheck

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/internal/testserver"
)

// startVsftpd runs a file server of anonymous users who know the right mail
// address, with options of its own.
func startVsftpd(t *testing.T, cert testserver.Certificate, options string) uint16 {
	port := testserver.Port(t)
	dir := testserver.Dir(t, map[string]string{
		"root/health": "all is well\n", "empty/.keep": "", "addresses": "monitor@goipvs.test\n",
	})
	testserver.Write(t, dir+"/vsftpd.conf", fmt.Sprintf(`
listen=YES
background=NO
listen_address=127.0.0.1
listen_port=%[1]d
anonymous_enable=YES
local_enable=NO
anon_root=%[2]s/root
ftp_username=ftp
secure_chroot_dir=%[2]s/empty
secure_email_list_enable=YES
email_password_file=%[2]s/addresses
seccomp_sandbox=NO
delay_failed_login=0
ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl=NO
force_anon_data_ssl=NO
require_ssl_reuse=NO
ssl_ciphers=HIGH
rsa_cert_file=%[3]s
rsa_private_key_file=%[4]s
%[5]s
`, port, dir, cert.CertFile, cert.KeyFile, options))
	testserver.Start(t, testserver.Program{Path: "vsftpd", Args: []string{dir + "/vsftpd.conf"}}).AwaitPort(port)
	return port
}

func TestFTP(t *testing.T) {
	t.Parallel()
	testserver.Need(t, "vsftpd")
	certs := newCertificates(t)
	plain := startVsftpd(t, certs.good, "")
	implicit := startVsftpd(t, certs.good, "implicit_ssl=YES")
	expired := startVsftpd(t, certs.expired, "")
	expiredImplicit := startVsftpd(t, certs.expired, "implicit_ssl=YES")
	elsewhere := startVsftpd(t, certs.good, "pasv_address=198.51.100.7\ncmds_denied=EPSV")
	pasv := startVsftpd(t, certs.good, "cmds_denied=EPSV")
	nothing := startVsftpd(t, certs.good, "pasv_enable=NO")

	get := Check{Type: "ftp", Login: "anonymous", Password: "monitor@goipvs.test", Request: "health", Receive: "all is well"}
	examine(t, certs.states(certs.trust(get, "starttls"), plain, expired)...)
	examine(t, certs.states(certs.trust(get, "on"), implicit, expiredImplicit)...)
	examine(t,
		row("up", get, plain, ""),
		downState(t, get),
		row("login alone", with(get, func(c *Check) { c.Request, c.Receive = "", "" }), plain, ""),
		row("wrong answer", with(get, func(c *Check) { c.Receive = "all is lost" }), plain, `ftp: the answer does not match "all is lost": all is well`),
		row("no such file", with(get, func(c *Check) { c.Request = "gone" }), plain, "ftp retr gone: 550 Failed to open file."),
		row("wrong password", with(get, func(c *Check) { c.Password = "else@goipvs.test" }), plain, "ftp login anonymous: 530 Login incorrect."),
		row("wrong user", with(get, func(c *Check) { c.Login = "somebody" }), plain, "ftp login somebody: 530 This FTP server is anonymous only."),
		row("default login", Check{Type: "ftp"}, plain, "ftp login anonymous: 530 Login incorrect."),
		row("PASV", get, pasv, ""),
		row("PASV elsewhere", get, elsewhere, "ftp pasv: the server announces 198.51.100.7 for data, which is not its address (127.0.0.1)"),
		row("no passive mode", get, nothing, "ftp pasv: 550 Permission denied."),
	)
	t.Run("PASV to the VIP", func(t *testing.T) {
		target := loopback(elsewhere)
		target.Virtual = loopbackVIP
		judgeState(t, row("", get, elsewhere, ""), lookAt(t, get, target.seen(&get, kinds["ftp"]))) // as the runner has it
	})
}

// Replies that RFC 959 allows beside the usual ones: a greeting of many lines, a
// password that was not wanted (202), the end of a file by 250.
func TestFTPReplies(t *testing.T) {
	data, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	_, port, _ := net.SplitHostPort(data.Addr().String())
	replies := map[string]string{
		"USER": "331 and the password?", "PASS": "202 superfluous", "TYPE": "200 binary", "EPSV": "229 go (|||" + port + "|)", "RETR": "125 here it is", "QUIT": "221 bye",
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	go func() {
		c, err := control.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintf(c, "220-welcome\r\n 220 this is not the end\r\n\r\n220-nor this\r\n220 but this\r\n")
		for in := bufio.NewScanner(c); in.Scan(); {
			word, _, _ := strings.Cut(in.Text(), " ")
			fmt.Fprintf(c, "%s\r\n", replies[word])
			if word != "RETR" {
				continue
			}
			if d, err := data.Accept(); err == nil {
				fmt.Fprint(d, "all is well")
				d.Close()
				fmt.Fprint(c, "250 done\r\n")
			}
		}
	}()
	res, err := Look(within(t, patient), Check{Type: "ftp", Request: "health", Receive: "^all is well$"}, Target{Real: netip.MustParseAddrPort(control.Addr().String())})
	if err != nil || res.Err != nil {
		t.Errorf("%v %v\n%s", err, res.Err, res.Transcript)
	}
}
