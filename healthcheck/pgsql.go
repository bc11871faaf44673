package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// pgsql logs in to a PostgreSQL server and asks, over pgx's single connection.
func pgsql(c Check) (look, error) {
	s, err := newSQL(c)
	if err != nil {
		return nil, err
	}
	p := pgsqlCheck{sqlCheck: s}
	p.defaults, err = pgDefaults()
	return p.look, err
}

type pgsqlCheck struct {
	*sqlCheck
	defaults *pgconn.Config
}

// pgDefaults is a configuration that holds nothing of our environment or home:
// the library accepts only what it parsed, and fills what the text leaves out
// from PG* variables, ~/.pgpass and ~/.postgresql. The one variable that
// nothing overrides is refused.
func pgDefaults() (*pgconn.Config, error) {
	if os.Getenv("PGSERVICE") != "" {
		return nil, errors.New("the environment variable PGSERVICE must not be set")
	}
	return pgconn.ParseConfig("host=127.0.0.1 port=5432 user=x password=x dbname=x passfile=/dev/null connect_timeout=0 " +
		"sslmode=disable sslcertmode=disable sslcert='' sslkey='' sslrootcert='' sslpassword='' sslsni=1 sslnegotiation=postgres " +
		"target_session_attrs=any min_protocol_version=3.0 max_protocol_version=3.0 channel_binding=prefer require_auth=''")
}

func (p pgsqlCheck) look(ctx context.Context, d *Dialer) error {
	c, err := p.connect(ctx, d)
	if err != nil {
		return err
	}
	pg, err := p.enter(ctx, d, c)
	if err != nil {
		return d.pgFailed("login "+p.login, err)
	}
	defer pg.Close(context.WithoutCancel(ctx)) // c has the deadline
	d.Stage("waiting for the answer to " + d.quote(p.query))
	if err := p.ask(ctx, d, pg); err != nil {
		c.Close() // the library would send a request to cancel on a connection of its own
		return d.pgFailed(d.quote(p.query), err)
	}
	return nil
}

// connect begins TLS where it is asked for, as the library would out of sight
// of the dialer (PostgreSQL protocol, "SSL Session Encryption").
func (p pgsqlCheck) connect(ctx context.Context, d *Dialer) (net.Conn, error) {
	c, err := d.Dial(ctx, "tcp")
	if err != nil || p.mode == tlsOff {
		return c, err
	}
	if _, err := c.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}); err != nil {
		return nil, d.pgFailed("starttls", err)
	}
	var answer [1]byte // one byte alone: what follows in clear is not the server's to say
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return nil, d.pgFailed("starttls", err)
	}
	if answer[0] != 'S' {
		return nil, d.pgFailed("starttls", errors.New("the server offers no TLS"))
	}
	if c, err = d.StartTLS(ctx, c, p.config); err != nil {
		return nil, d.pgFailed("starttls", err)
	}
	return c, nil
}

// enter logs in over c, the only connection the library gets.
func (p pgsqlCheck) enter(ctx context.Context, d *Dialer, c net.Conn) (*pgconn.PgConn, error) {
	cfg := p.defaults.Copy()
	cfg.Host, cfg.Port = d.Address().Addr().String(), d.Address().Port()
	cfg.User, cfg.Password, cfg.Database = p.login, p.password, p.database
	if cfg.Database == "" {
		cfg.Database = p.login // as the server itself would take it
	}
	cfg.TLSConfig, cfg.Fallbacks = nil, nil
	cfg.RuntimeParams = map[string]string{"application_name": "goipvs"}
	cfg.MaxProtocolMessageBodyLen = maxBytes
	cfg.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	var once sync.Once
	cfg.DialFunc = func(context.Context, string, string) (given net.Conn, err error) {
		err = errors.New("a check makes one connection")
		once.Do(func() { given, err = newSCRAMConn(c), nil })
		return given, err
	}
	return pgconn.ConnectConfig(ctx, cfg)
}

// ask reads the answer's rows until one is enough.
func (p pgsqlCheck) ask(ctx context.Context, d *Dialer, pg *pgconn.PgConn) error {
	results := pg.Exec(ctx, p.query)
	rows, row := 0, []string(nil)
	for results.NextResult() {
		for reader := results.ResultReader(); reader.NextRow(); {
			row = row[:0]
			for _, v := range reader.Values() {
				if v == nil {
					v = []byte("NULL")
				}
				row = append(row, string(v))
			}
			if p.enough(row) {
				return nil
			}
			if rows++; rows == maxRows {
				return p.without(d, rows, row)
			}
		}
	}
	if err := results.Close(); err != nil {
		return err
	}
	return p.without(d, rows, row)
}

// pgFailed says what was being done, and what the server said with its code.
func (d *Dialer) pgFailed(doing string, err error) error {
	var said *pgconn.PgError
	var no *noRows
	switch {
	case errors.As(err, &no):
		return err
	case errors.As(err, &said):
		return fmt.Errorf("pgsql %s: %s", doing, d.quote(fmt.Sprintf("%s: %s (%s)", said.Severity, said.Message, said.Code)))
	}
	return fmt.Errorf("pgsql %s: %w", doing, hungUp(err))
}
