package healthcheck

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	gomysql "github.com/go-sql-driver/mysql"
)

// mysql logs in to a MySQL or MariaDB server and asks. It uses the driver's
// connection itself: the pool of database/sql would try again behind our back.
func mysql(c Check) (look, error) {
	s, err := newSQL(c)
	return mysqlCheck{s}.look, err
}

type mysqlCheck struct{ *sqlCheck }

// maxMySQLLogin is how much a server may say until we are logged in, TLS
// included. A key for our password, by RSA, could else be one that takes minutes
// to encrypt with.
const maxMySQLLogin = 16 << 10

func (m mysqlCheck) look(ctx context.Context, d *Dialer) (err error) {
	defer func() {
		if r := recover(); r != nil { // the driver looks behind the end of packets that are too short
			err = fmt.Errorf("mysql: a malformed answer (%v)", r)
		}
	}()
	log := &lastError{}
	packets := &packetConn{secure: func(c net.Conn) (net.Conn, error) {
		t, err := d.tlsClient(ctx, c, m.config)
		if err != nil {
			return nil, err
		}
		return t.Conn, nil // nothing is written down: there is a password
	}}
	defer packets.end()
	connector, err := gomysql.NewConnector(m.driverConfig(d, packets, log))
	if err != nil {
		return ours(err)
	}
	d.limit(maxMySQLLogin)
	c, err := connector.Connect(ctx)
	d.budget.read.Add(maxBytes - maxMySQLLogin)
	if err != nil {
		return d.mysqlFailed("login "+m.login, err, log)
	}
	defer c.Close()
	d.Stage("waiting for the answer to " + d.quote(m.query))
	if err := m.ask(ctx, d, c); err != nil {
		return d.mysqlFailed(d.quote(m.query), err, log)
	}
	return nil
}

// driverConfig makes the driver use one connection of the dialer.
func (m mysqlCheck) driverConfig(d *Dialer, packets *packetConn, log gomysql.Logger) *gomysql.Config {
	cfg := gomysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.DBName = m.login, m.password, m.database
	cfg.Net, cfg.Addr = "tcp", d.Address().String()
	cfg.Logger = log
	cfg.DialFunc = func(ctx context.Context, network, _ string) (net.Conn, error) {
		c, err := d.Dial(ctx, network)
		if err != nil {
			return nil, err
		}
		packets.Conn = c
		return packets, nil
	}
	if m.mode != tlsOff {
		cfg.TLS = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // it is with us, see packetTLS
		cfg.AllowCleartextPasswords = true              // as users of PAM and LDAP need
	}
	return cfg
}

// ask reads the answer's rows until one is enough. It does not close them, which
// would read all the others: the connection is closed.
func (m mysqlCheck) ask(ctx context.Context, d *Dialer, c driver.Conn) error {
	rows, err := c.(driver.QueryerContext).QueryContext(ctx, m.query, nil)
	if err != nil {
		return err
	}
	values := make([]driver.Value, len(rows.Columns()))
	var row []string
	for n := range maxRows {
		switch err := rows.Next(values); {
		case errors.Is(err, io.EOF):
			return m.without(d, n, row)
		case err != nil:
			return err
		}
		if row = rowText(values); m.enough(row) {
			return nil
		}
	}
	return m.without(d, maxRows, row)
}

func rowText(values []driver.Value) []string {
	row := make([]string, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case nil:
			row[i] = "NULL"
		case []byte:
			row[i] = string(v)
		default:
			row[i] = fmt.Sprint(v)
		}
	}
	return row
}

// mysqlFailed says what was being done. The driver calls every broken
// connection invalid, and tells only its log why.
func (d *Dialer) mysqlFailed(doing string, err error, log *lastError) error {
	var said *gomysql.MySQLError
	var no *noRows
	switch {
	case errors.As(err, &no):
		return err
	case errors.As(err, &said):
		return fmt.Errorf("mysql %s: %s", doing, d.quote(fmt.Sprintf("%d %s", said.Number, said.Message)))
	case errors.Is(err, gomysql.ErrInvalidConn) && log.err != nil:
		err = log.err
	case errors.Is(err, gomysql.ErrNoTLS):
		err = errors.New("the server offers no TLS")
	case errors.Is(err, gomysql.ErrUnknownPlugin):
		err = fmt.Errorf("the server wants this user to log in by %s, which checks cannot", log.plugin)
	case errors.Is(err, gomysql.ErrOldPassword):
		err = errors.New("the server wants a password as before MySQL 4.1, which checks do not send")
	case errors.Is(err, gomysql.ErrCleartextPassword):
		err = errors.New(`the server wants the password in clear, for which checks want TLS (tls = "starttls")`)
	}
	return fmt.Errorf("mysql %s: %w", doing, hungUp(err))
}

// lastError is the driver's log: the last error it wrote there, and the way to
// log in that it does not know.
type lastError struct {
	err    error
	plugin string
}

// Print keeps them.
func (l *lastError) Print(v ...any) {
	if _, plugin, ok := strings.Cut(fmt.Sprintln(v...), "unknown auth plugin: "); ok {
		l.plugin = clean(head([]byte(strings.TrimSpace(plugin)), 40))
	}
	for _, v := range v {
		if err, ok := v.(error); ok && !strings.Contains(err.Error(), "use of closed") {
			l.err = err
		}
	}
}
