package doctor

import (
	"fmt"

	"github.com/goipvs/goipvs/ipvs"
)

// syncSilent: a daemon whose interface is down sends and hears nothing; a
// backup that gets datagrams and makes no entry of them has another id.
func syncSilent(f *Facts) (found []Finding) {
	const why = "connections break when the other director takes over"
	for _, d := range f.Daemons {
		l, ok := f.link(d.Interface)
		if len(f.Links) > 0 && (!ok || !l.Up) {
			found = append(found, Finding{
				Severity: Warning,
				Object:   d.State.String() + " " + d.Interface,
				Seen:     fmt.Sprintf("the sync daemon uses %s, which is down or not there", d.Interface),
				Why:      why,
				Fix:      []string{"ip link set " + d.Interface + " up"},
			})
			continue
		}
		n := f.Grew("Udp.InDatagrams")
		if d.State != ipvs.Backup || f.Synced > 0 || n == 0 {
			continue
		}
		found = append(found, Finding{
			Severity: Warning,
			Object:   d.State.String() + " " + d.Interface,
			Seen:     fmt.Sprintf("Udp InDatagrams grew by %d meanwhile, but no connection has come by synchronization; the sync id here is %d", n, d.SyncID),
			Why:      "the two directors do not have the same sync id, so the backup throws away what it gets: " + why,
			Fix: []string{"# give both the same --syncid, on this one:", "goipvs --stop-daemon backup",
				fmt.Sprintf("goipvs --start-daemon backup --mcast-interface %s --syncid ID", d.Interface)},
			Undo: []string{fmt.Sprintf("goipvs --start-daemon backup --mcast-interface %s --syncid %d", d.Interface, d.SyncID)},
		})
	}
	return found
}

// syncVersion: the kernel cannot tell the peer's version, only that this one
// speaks the old one.
func syncVersion(f *Facts) (found []Finding) {
	if len(f.Daemons) == 0 || !f.knobIs("sync_version", 0) {
		return nil
	}
	return []Finding{{
		Severity: Warning,
		Seen:     "sync_version is 0, the format of kernels before 2.6.39",
		Why:      "it carries neither IPv6 nor persistence data, and a backup that expects it does not understand a newer master; it is right only while the peer is that old",
		Fix:      []string{setKnob("sync_version", 1)},
		Undo:     []string{setKnob("sync_version", 0)},
	}}
}
