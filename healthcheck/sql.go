package healthcheck

import (
	"errors"
	"fmt"
	"strings"
)

// maxRows is how many rows of an answer are looked at.
const maxRows = 1000

// sqlCheck is what the databases' checks have in common: a login, a query, and
// an answer of at least one row, of which one must match.
type sqlCheck struct {
	*security
	receive                          matcher
	login, password, database, query string
}

func newSQL(c Check) (*sqlCheck, error) {
	if c.Login == "" {
		// A server counts connections that end without a login, and
		// MySQL shuts out who made too many (max_connect_errors).
		return nil, errors.New("a login is needed")
	}
	if err := oneLine(Check{Login: c.Login, Password: c.Password, Database: c.Database}); err != nil {
		return nil, err
	}
	s, err := newSecurity(c, tlsOff, tlsStartTLS, tlsOn) // TLS has one way to begin here
	if err != nil {
		return nil, err
	}
	q := c.Request
	if q == "" {
		q = "SELECT 1"
	}
	m, err := newMatcher(c.Receive)
	return &sqlCheck{s, m, c.Login, c.Password, c.Database, q}, err
}

// enough reports whether the row ends the check: it has what receive asks for.
func (s *sqlCheck) enough(row []string) bool {
	return s.receive == nil || s.receive.Match([]byte(strings.Join(row, "\t")))
}

// noRows is the reason when no row was enough.
type noRows struct{ error }

func (s *sqlCheck) without(d *Dialer, rows int, last []string) error {
	doing := d.Check.Type + " " + d.quote(s.query)
	if rows == 0 {
		return &noRows{fmt.Errorf("%s: no row", doing)}
	}
	return &noRows{fmt.Errorf("%s: none of %d rows matches %q, the last is: %s",
		doing, rows, s.receive, d.quote(strings.Join(last, "\t")))}
}
