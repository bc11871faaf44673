package ipvsadm

import (
	"errors"
	"io"

	"github.com/goipvs/goipvs/ipvs/procfs"
)

// views are the listings in the order in which one wins over the next.
var views = [...]struct {
	col  column
	view View
}{
	{colStats, ViewStats}, {colRate, ViewRate}, {colThresholds, ViewThresholds},
	{colPersistentConn, ViewPersistent}, {colTunInfo, ViewTunnel},
}

func (s *session) list(c *Command) error {
	g := c.given
	o := ListOptions{Names: s.listNames(c), Exact: g.has(colExact), NoSort: g.has(colNoSort), JSON: g.has(colJSON)}
	for _, v := range views {
		if g.has(v.col) {
			o.View = v.view
			break
		}
	}
	switch {
	case g.has(colConnection):
		return s.listConnections(o)
	case g.has(colTimeout):
		t, err := s.kernel.Timeouts()
		if err != nil {
			return err
		}
		return ListTimeouts(s.Stdout, t, o.JSON)
	case g.has(colDaemon):
		d, err := s.kernel.Daemons()
		if err != nil {
			return err
		}
		return ListDaemons(s.Stdout, d, o.JSON)
	case g.has(colService):
		return ListService(s.Stdout, s.kernel, c.Change.Service.ServiceKey, o)
	}
	return List(s.Stdout, s.kernel, o)
}

// listConnections asks the kernel something first: anybody may read the file,
// but a listing is for those who may use IPVS.
func (s *session) listConnections(o ListOptions) error {
	if _, err := s.kernel.Info(); err != nil {
		return err
	}
	var full, kernel []Connection
	full, kernel, s.kernel.broken = s.kernel.connections()
	if s.kernel.none {
		return listConnections(s.Stdout, func(func(procfs.Connection, error) bool) {}, full, nil, o)
	}
	open := s.OpenConnections
	if open == nil {
		open = func() (io.ReadCloser, error) { return procfs.Open("", procfs.ConnectionFile) }
	}
	f, err := open()
	if err != nil {
		return err
	}
	defer f.Close()
	return listConnections(s.Stdout, procfs.Connections(f), full, kernel, o)
}

func (s *session) listNames(c *Command) *Resolver {
	if c.given.has(colNumeric) {
		return nil
	}
	return s.Names
}

// incomplete tells that a listing lacks full NAT's part. Who may not ask goipvsd
// is told so, and has listed what is his.
func (s *session) incomplete(c *Command) int {
	err := s.kernel.broken
	var daemon *DaemonError
	if errors.As(err, &daemon) && daemon.Code == codeDenied {
		s.say("notice: full NAT is not listed: " + daemon.Message)
		return exitOK
	}
	return s.fail(c, err)
}
