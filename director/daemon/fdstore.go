package daemon

import (
	"errors"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// fdName is the name under which systemd keeps the sockets of a service. A name
// has no colons (sd_pid_notify_with_fds(3)).
func fdName(k ipvs.ServiceKey) string {
	return strings.NewReplacer(":", "-", " ", "_", "[", "", "]", "").Replace(k.String())
}

// keep has systemd keep listening sockets, which the next process gets from it,
// and forget those of services that are gone: as long as anybody has them,
// clients are taken that nobody serves. It closes the files.
func (n *notifier) keep(opened []*os.File, closed []ipvs.ServiceKey) {
	defer closeAll(opened)
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return
	}
	for _, k := range closed {
		n.send("FDSTOREREMOVE=1\nFDNAME=" + fdName(k))
	}
	var keys []ipvs.ServiceKey
	of := make(map[ipvs.ServiceKey][]*os.File)
	for _, f := range opened {
		if k, ok := fullnat.ListensTo(f); ok {
			if of[k] == nil {
				keys = append(keys, k)
			}
			of[k] = append(of[k], f)
		}
	}
	for _, k := range keys {
		for files := of[k]; len(files) > 0; {
			some := files[:min(len(files), filesAtOnce)]
			files = files[len(some):]
			// FDPOLL=0: systemd would drop a socket that has an error to report.
			if err := n.sendFiles("FDSTORE=1\nFDNAME="+fdName(k)+"\nFDPOLL=0", some, 0); err != nil {
				n.log.Warn(director.StoreFailed.Brief, "event", director.StoreFailed.Name, "service", k.String(), "err", err)
				return
			}
		}
	}
}

// notifyPatience is for a systemd that is busy.
const notifyPatience = 5 * time.Second

// sendFiles sends a message with files (sd_notify(3)), if there is a systemd.
func (n *notifier) sendFiles(text string, files []*os.File, flags int) error {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" || n.quiet.Load() {
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	patience := unix.NsecToTimeval(notifyPatience.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience); err != nil {
		return err
	}
	for {
		err := unix.Sendmsg(fd, []byte(text), rights(files), &unix.SockaddrUnix{Name: socket}, flags)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// kept are the sockets that systemd kept. What is none of ours is given back.
func (n *notifier) kept() (ours []*os.File) {
	for _, f := range activation.Files(true) {
		if _, ok := fullnat.ListensTo(f); ok {
			ours = append(ours, f)
			continue
		}
		n.log.Warn("systemd has kept something that is not ours", "event", director.StoreFailed.Name, "name", director.Clean(f.Name()))
		n.send("FDSTOREREMOVE=1\nFDNAME=" + f.Name())
		f.Close()
	}
	return ours
}
