package procfs

import (
	"fmt"
	"os"
)

// The files that [Open] opens.
const (
	ConnectionFile     = "ip_vs_conn"
	ConnectionSyncFile = "ip_vs_conn_sync"
	StatsFile          = "ip_vs_stats"
	PerCPUStatsFile    = "ip_vs_stats_percpu"
)

// Open opens a file of /proc/net in the network namespace at a path such as
// /run/netns/blue; "" is the calling thread's. The open file stays with that
// namespace, whichever thread reads it. The error is fs.ErrNotExist when the
// namespace's kernel has no IPVS, fs.ErrPermission without CAP_SYS_ADMIN for
// another namespace.
func Open(netns, file string) (f *os.File, err error) {
	switch file {
	case ConnectionFile, ConnectionSyncFile, StatsFile, PerCPUStatsFile:
	default:
		return nil, fmt.Errorf("open %q: not a file of IPVS", file)
	}
	err = within(netns, func() error {
		// Not /proc/net: that is the main thread's namespace.
		f, err = os.Open("/proc/thread-self/net/" + file)
		return err
	})
	return f, err
}
