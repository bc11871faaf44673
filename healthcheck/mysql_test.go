package healthcheck

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/internal/testserver"
)

// mariaData makes the files of a database server with user monitor and a table.
func mariaData(t *testing.T) string {
	dir := testserver.Dir(t, map[string]string{"data/.keep": ""})
	tables, err := os.ReadFile("/usr/share/mysql/mysql_system_tables.sql")
	if err != nil {
		t.Fatal(err)
	}
	testserver.Write(t, dir+"/boot.sql", "CREATE DATABASE mysql;\nUSE mysql;\n"+string(tables)+`
FLUSH PRIVILEGES;
CREATE USER monitor@'127.0.0.1' IDENTIFIED BY 'watchword';
CREATE DATABASE app;
CREATE TABLE app.state (name varchar(20), value varchar(20)) ENGINE=Aria;
INSERT INTO app.state VALUES ('role', 'primary'), ('lag', NULL);
GRANT SELECT ON app.* TO monitor@'127.0.0.1';
`)
	testserver.Give(t, dir, "nobody")
	testserver.Run(t, testserver.Program{Path: "sh", User: "nobody", Args: []string{"-c",
		"exec /usr/sbin/mariadbd " + strings.Join(mariaArgs(dir), " ") + " --bootstrap <" + dir + "/boot.sql"}})
	return dir
}

// mariaArgs leave InnoDB out: a hundred megabytes, and no matter here.
func mariaArgs(dir string) []string {
	return []string{"--no-defaults", "--datadir=" + dir + "/data", "--tmpdir=" + dir, "--skip-innodb", "--default-storage-engine=Aria",
		"--lc-messages-dir=/usr/share/mysql", "--socket=" + dir + "/socket", "--pid-file=" + dir + "/pid"}
}

// startMaria runs a server over a copy of the data.
func startMaria(t *testing.T, data string, certs certificates, cert testserver.Certificate) (uint16, *testserver.Process) {
	port := testserver.Port(t)
	dir := testserver.Dir(t, nil)
	if err := os.CopyFS(dir, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	testserver.Give(t, dir, "nobody")
	args := append(mariaArgs(dir), "--bind-address=127.0.0.1", fmt.Sprintf("--port=%d", port),
		"--ssl-cert="+cert.CertFile, "--ssl-key="+cert.KeyFile, "--ssl-ca="+certs.authority.File)
	p := testserver.Start(t, testserver.Program{Path: "mariadbd", Args: args, User: "nobody"})
	p.AwaitPort(port)
	return port, p
}

func TestMySQL(t *testing.T) {
	t.Parallel()
	testserver.Need(t, "mariadb-server-core")
	certs := newCertificates(t)
	data := mariaData(t)
	port, server := startMaria(t, data, certs, certs.good)
	expired, _ := startMaria(t, data, certs, certs.expired)

	login := Check{Type: "mysql", Login: "monitor", Password: "watchword"}
	ask := func(query, receive string) Check {
		return with(login, func(c *Check) { c.Database, c.Request, c.Receive = "app", query, receive })
	}
	t.Run("states", func(t *testing.T) {
		examine(t, certs.states(certs.trust(login, "starttls"), port, expired)...)
		examine(t,
			row("up", login, port, ""),
			downState(t, login),
			row("row", ask("SELECT * FROM state", "^role\tprimary$"), port, ""),
			row("null", ask("SELECT * FROM state", "^lag\tNULL$"), port, ""),
			row("wrong answer", ask("SELECT * FROM state", "replica"), port, `mysql SELECT * FROM state: none of 2 rows matches "replica", the last is: lag`),
			row("no row", ask("SELECT * FROM state WHERE name = 'x'", ""), port, "mysql SELECT * FROM state WHERE name = 'x': no row"),
			row("no such table", ask("SELECT * FROM gone", ""), port, "mysql SELECT * FROM gone: 1146 Table 'app.gone' doesn't exist"),
			row("not a query", ask("SET @x = 1", ""), port, "mysql SET @x = 1: no row"),
			row("no such database", with(login, func(c *Check) { c.Database = "gone" }), port, "mysql login monitor: 1044 Access denied for user 'monitor'@'127.0.0.1' to database 'gone'"),
			row("wrong password", with(login, func(c *Check) { c.Password = "wrong" }), port, "mysql login monitor: 1045 Access denied for user 'monitor'@"),
		)
	})
	freeze(t, server, row("frozen", login, port, "timed out waiting for an answer"))
}
