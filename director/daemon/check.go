package daemon

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/ipvs"
)

// Check tells what is wrong with a configuration beyond its text: checks that
// cannot be made, files of certificates that cannot be read. Host names are not
// asked for.
func Check(c *config.Config) error {
	bound, _ := c.Bind(stand)
	_, err := director.Build(bound, false)
	return err
}

// stand gives every host an address that is as good as any other.
func stand(h config.Host) (netip.Addr, bool) {
	if h.Family == ipvs.IPv6 {
		return netip.MustParseAddr("2001:db8::1"), true
	}
	return netip.MustParseAddr("192.0.2.1"), true
}

// Hint is what may help against an error of Run; empty: nothing known.
func Hint(err error) string {
	var other *RunningError
	switch {
	case errors.As(err, &other) && other.Config != "":
		return "each goipvsd needs a control and a state_dir of its own; to change control, stop the one that runs"
	case errors.Is(err, ipvs.ErrNoIPVS):
		return "modprobe ip_vs, or a kernel that has it"
	case errors.Is(err, ipvs.ErrPermission), errors.Is(err, fs.ErrPermission):
		return "goipvsd needs the capability CAP_NET_ADMIN and a folder for its socket that it may write"
	}
	return ""
}

// Place is where the daemon of a file is to be found.
type Place struct {
	Control, StateDir string
	config            string // the file
}

func placeOf(path string, c *config.Config) Place {
	return Place{c.Control, c.StateDir, absolute(path)}
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

var placeLine = regexp.MustCompile(`(?m)^[ \t]*(control|state_dir)[ \t]*=[ \t]*["']([^"']+)["']`)

// PlaceOf is the place of a file's daemon, also when the file has mistakes: a
// daemon must be found whatever happened to its file. The error is why the
// file tells nothing at all; the place is then that of a file without these
// keys, which may be another one.
func PlaceOf(path string) (Place, error) {
	c, wrong := config.Load(path, config.Options{NoSecrets: true})
	if wrong == nil {
		return placeOf(path, c), nil
	}
	c, err := config.Parse(path, []byte("# defaults\n"), config.Options{})
	if err != nil {
		return Place{}, err // never
	}
	p := placeOf(path, c)
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Size() == 0 || info.Size() > 16<<20 {
		return p, wrong
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return p, wrong
	}
	for _, m := range placeLine.FindAllSubmatch(b, -1) {
		if string(m[1]) == "control" {
			p.Control = string(m[2])
		} else {
			p.StateDir = string(m[2])
		}
	}
	return p, nil
}
