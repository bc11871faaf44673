package healthcheck

import (
	"fmt"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/testserver"
)

func startRedis(t *testing.T, cert testserver.Certificate, users string) (plain, tls uint16) {
	plain, tls = testserver.Port(t), testserver.Port(t)
	dir := testserver.Dir(t, map[string]string{"redis.conf": fmt.Sprintf(`
bind 127.0.0.1
port %d
tls-port %d
tls-cert-file %s
tls-key-file %s
tls-auth-clients no
save ""
%s`, plain, tls, cert.CertFile, cert.KeyFile, users)})
	p := testserver.Start(t, testserver.Program{Path: "redis-server", Args: []string{"redis.conf"}, Dir: dir})
	p.AwaitPort(tls)
	p.AwaitPort(plain)
	return plain, tls
}

func TestRedis(t *testing.T) {
	t.Parallel()
	testserver.Need(t, "redis-server")
	certs := newCertificates(t)
	open, openTLS := startRedis(t, certs.good, "")
	_, expired := startRedis(t, certs.expired, "")
	locked, _ := startRedis(t, certs.good, "requirepass opensesame\nuser monitor on >watchword ~* +@all")

	orphan, _ := startRedis(t, certs.good, "replicaof 127.0.0.1 1\nreplica-serve-stale-data no")

	ping := Check{Type: "redis"}
	login := Check{Type: "redis", Login: "monitor", Password: "watchword"}
	examine(t, certs.states(certs.trust(ping, "on"), openTLS, expired)...)
	examine(t,
		row("up", ping, open, ""),
		downState(t, ping),
		row("role", Check{Type: "redis", Request: "INFO replication", Receive: "role:master"}, open, ""),
		row("wrong role", Check{Type: "redis", Request: "INFO replication", Receive: "role:slave"}, open, "does not match"),
		row("array", Check{Type: "redis", Request: "CONFIG GET port", Receive: fmt.Sprintf("^port\n%d$", open)}, open, ""),
		row("no such command", Check{Type: "redis", Request: "FROB x"}, open, "redis FROB x: ERR unknown command"),
		row("database", Check{Type: "redis", Database: "3"}, open, ""),
		row("no such database", Check{Type: "redis", Database: "99"}, open, "redis select 99: ERR DB index is out of range"),
		row("login", login, locked, ""),
		row("wrong password", with(login, func(c *Check) { c.Password = "wrong" }), locked, "redis auth monitor: WRONGPASS"),
		row("password", Check{Type: "redis", Password: "opensesame"}, locked, ""),
		row("wrong default password", Check{Type: "redis", Password: "wrong"}, locked, "redis auth: WRONGPASS"),
		row("replica without its primary", ping, orphan, "redis PING: MASTERDOWN Link with MASTER is down"),
		row("login needed", ping, locked, "redis PING: NOAUTH Authentication required."),
	)
}

// TestClientCertificate: a server that wants one gets the check's.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	testserver.Need(t, "redis-server")
	certs := newCertificates(t)
	port := testserver.Port(t)
	p := testserver.Start(t, testserver.Program{Path: "redis-server", Args: []string{
		"--port", "0", "--bind", "127.0.0.1", "--save", "", "--tls-port", fmt.Sprint(port), "--tls-auth-clients", "yes",
		"--tls-cert-file", certs.good.CertFile, "--tls-key-file", certs.good.KeyFile, "--tls-ca-cert-file", certs.authority.File}})
	p.AwaitPort(port)
	check := certs.trust(Check{Type: "redis"}, "on")
	client := certs.authority.Issue(t, time.Time{}, "director.goipvs.test")
	stranger := testserver.NewAuthority(t).Issue(t, time.Time{}, "director.goipvs.test")
	examine(t,
		row("certificate and key", with(check, func(c *Check) { c.TLS.CertFile, c.TLS.KeyFile = client.CertFile, client.KeyFile }), port, ""),
		row("both in one file", with(check, func(c *Check) { c.TLS.CertFile = client.Both }), port, ""),
		row("none", check, port, "certificate required"),
		row("one of others", with(check, func(c *Check) { c.TLS.CertFile = stranger.Both }), port, "remote error: tls: "),
	)
}
