package daemon

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"regexp"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/director/control"
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
	switch {
	case errors.Is(err, ipvs.ErrNoIPVS):
		return "modprobe ip_vs, or a kernel that has it"
	case errors.Is(err, ipvs.ErrPermission), errors.Is(err, fs.ErrPermission):
		return "goipvsd needs the capability CAP_NET_ADMIN and a folder for its socket that it may write"
	}
	return ""
}

var controlLine = regexp.MustCompile(`(?m)^[ \t]*control[ \t]*=[ \t]*["']([^"']+)["']`)

// SocketOf is the control socket of a file, even of one that has mistakes
// elsewhere: a daemon must be found whatever happened to its file.
func SocketOf(path string) string {
	if c, err := config.Load(path, config.Options{NoSecrets: true}); err == nil {
		return c.Control
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Size() > 16<<20 {
		return control.DefaultSocket
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return control.DefaultSocket
	}
	if m := controlLine.FindSubmatch(b); m != nil {
		return string(m[1])
	}
	return control.DefaultSocket
}
