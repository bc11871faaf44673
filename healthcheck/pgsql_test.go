package healthcheck

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/goipvs/goipvs/internal/testserver"
)

// postgresBin is the folder of the server's programs, which has its version in
// its name.
func postgresBin(t *testing.T) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		t.Fatal("no PostgreSQL in /usr/lib/postgresql")
	}
	return found[len(found)-1]
}

// postgresData makes the files of a database server of user monitor.
func postgresData(t *testing.T) string {
	dir := testserver.Dir(t, map[string]string{"password": "watchword\n"})
	testserver.Give(t, dir, "postgres")
	testserver.Run(t, testserver.Program{Path: postgresBin(t) + "/initdb", User: "postgres", Args: []string{
		"-D", dir + "/data", "-A", "scram-sha-256", "-U", "monitor", "--pwfile=" + dir + "/password", "-N", "--no-instructions", "--locale=C"}})
	return dir + "/data"
}

// startPostgres runs a server over a copy of the data. An empty certificate
// means no TLS. Settings are more of postgresql.conf.
func startPostgres(t *testing.T, data string, cert testserver.Certificate, settings ...string) uint16 {
	port := testserver.Port(t)
	dir := testserver.Dir(t, nil)
	if err := os.CopyFS(dir+"/data", os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	args := []string{"-D", dir + "/data", "-h", "127.0.0.1", "-p", fmt.Sprint(port), "-k", dir,
		"-c", "fsync=off", "-c", "shared_buffers=1MB", "-c", "max_connections=20", "-c", "autovacuum=off"}
	if cert.CertFile != "" {
		private(t, cert.KeyFile, dir+"/key")
		args = append(args, "-c", "ssl=on", "-c", "ssl_cert_file="+cert.CertFile, "-c", "ssl_key_file="+dir+"/key")
	}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	testserver.Give(t, dir, "postgres")
	if err := os.Chmod(dir+"/data", 0o700); err != nil {
		t.Fatal(err)
	}
	testserver.Start(t, testserver.Program{Path: postgresBin(t) + "/postgres", Args: args, User: "postgres", Quit: syscall.SIGINT}).AwaitPort(port)
	return port
}

func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	testserver.Need(t, "postgresql")
	certs := newCertificates(t)
	data := postgresData(t)
	port := startPostgres(t, data, certs.good)
	expired := startPostgres(t, data, certs.expired)
	bare := startPostgres(t, data, testserver.Certificate{})
	hba := testserver.Dir(t, map[string]string{"hba": "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n"}) + "/hba"
	mutual := startPostgres(t, data, certs.good, "ssl_ca_file="+certs.authority.File, "hba_file="+hba)
	client := certs.authority.Issue(t, time.Time{}, "monitor")

	login := Check{Type: "pgsql", Login: "monitor", Password: "watchword", Database: "postgres"}
	ask := func(query, receive string) Check {
		return with(login, func(c *Check) { c.Request, c.Receive = query, receive })
	}
	examine(t, certs.states(certs.trust(login, "starttls"), port, expired)...)
	examine(t,
		row("up", login, port, ""),
		downState(t, login),
		row("row", ask("SELECT 'role', 'primary' UNION ALL SELECT 'lag', NULL", "^role\tprimary$"), port, ""),
		row("null", ask("SELECT 'role', 'primary' UNION ALL SELECT 'lag', NULL", "^lag\tNULL$"), port, ""),
		row("wrong answer", ask("SELECT pg_is_in_recovery()", "^t$"), port, `pgsql SELECT pg_is_in_recovery(): none of 1 rows matches "^t$", the last is: f`),
		row("no row", ask("SELECT 1 WHERE false", ""), port, "pgsql SELECT 1 WHERE false: no row"),
		row("no such table", ask("SELECT * FROM gone", ""), port, `pgsql SELECT * FROM gone: ERROR: relation "gone" does not exist (42P01)`),
		row("not a query", ask("SET work_mem = '1MB'", ""), port, "pgsql SET work_mem = '1MB': no row"),
		row("database of the user's name", with(login, func(c *Check) { c.Database = "" }), port, `pgsql login monitor: FATAL: database "monitor" does not exist (3D000)`),
		row("wrong password", with(login, func(c *Check) { c.Password = "wrong" }), port, `pgsql login monitor: FATAL: password authentication failed for user "monitor" (28P01)`),
		row("client certificate", with(certs.trust(login, "starttls"), func(c *Check) { c.TLS.CertFile = client.Both }), mutual, ""),
		row("no client certificate", certs.trust(login, "starttls"), mutual, "pgsql login monitor: FATAL: connection requires a valid client certificate (28000)"),
		row("no TLS", certs.trust(login, "starttls"), bare, "pgsql starttls: the server offers no TLS"),
	)
}

// TestPostgreSQLEnvironment: what is set for other programs changes no check.
func TestPostgreSQLEnvironment(t *testing.T) {
	t.Setenv("HOME", testserver.Dir(t, map[string]string{".pgpass": "*:*:*:*:else\n"}))
	before, err := pgDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"PGHOST": "192.0.2.1", "PGPORT": "1", "PGUSER": "somebody", "PGPASSWORD": "else", "PGDATABASE": "other", "PGPASSFILE": "/dev/full",
		"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/nonexistent", "PGSSLCERT": "/nonexistent", "PGSSLKEY": "/nonexistent", "PGSSLCERTMODE": "x",
		"PGCONNECT_TIMEOUT": "x", "PGTARGETSESSIONATTRS": "read-write", "PGOPTIONS": "-c default_transaction_read_only=on", "PGTZ": "Mars",
		"PGCHANNELBINDING": "require", "PGREQUIREAUTH": "md5", "PGMINPROTOCOLVERSION": "9",
	} {
		t.Setenv(name, value)
	}
	after, err := pgDefaults()
	if err != nil {
		t.Fatal(err)
	}
	functions := cmpopts.IgnoreFields(pgconn.Config{}, "BuildFrontend", "BuildContextWatcherHandler", "DialFunc", "LookupFunc", "OnPgError",
		"RuntimeParams") // replaced for each check
	if diff := cmp.Diff(before, after, functions, cmpopts.IgnoreUnexported(pgconn.Config{})); diff != "" {
		t.Error(diff)
	}
	t.Setenv("PGSERVICE", "other")
	if err := (Check{Type: "pgsql", Login: "x"}).Validate(); err == nil {
		t.Error("PGSERVICE, which the library follows, is accepted")
	}
}
