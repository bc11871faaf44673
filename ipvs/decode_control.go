package ipvs

import (
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/ipvs/internal/wire"
)

func decodeDaemon(b []byte, d *Daemon, names interned) error {
	entry, err := nested(b, attrDaemon)
	if err != nil {
		return err
	}
	*d = Daemon{}
	it := wire.NewAttrs(entry)
	for it.Next() {
		switch it.Type() {
		case daemonState:
			d.State = DaemonState(it.U32())
		case daemonMcastIfn:
			d.Interface = names.get(it.CString())
		case daemonSyncID:
			d.SyncID = it.U32()
		case daemonSyncMaxlen:
			d.MaxLen = it.U16()
		case daemonMcastGroup, daemonMcastGroup6:
			var ok bool
			if d.Group, ok = netip.AddrFromSlice(it.Bytes()); !ok {
				it.Fail(errAddr)
			}
		case daemonMcastPort:
			d.Port = it.U16()
		case daemonMcastTTL:
			d.TTL = it.U8()
		}
	}
	return it.Err()
}

func decodeInfo(b []byte, i *Info) error {
	*i = Info{}
	it := wire.NewAttrs(b)
	for it.Next() {
		switch it.Type() {
		case infoVersion:
			v := it.U32()
			i.Version = Version{Major: uint8(v >> 16), Minor: uint8(v >> 8), Patch: uint8(v)}
		case infoConnTabSize:
			i.ConnTabSize = it.U32()
		}
	}
	return it.Err()
}

func decodeTimeouts(b []byte, t *Timeouts) error {
	*t = Timeouts{}
	it := wire.NewAttrs(b)
	for it.Next() {
		switch it.Type() {
		case attrTimeoutTCP:
			t.TCP = time.Duration(it.U32()) * time.Second
		case attrTimeoutTCPFin:
			t.TCPFin = time.Duration(it.U32()) * time.Second
		case attrTimeoutUDP:
			t.UDP = time.Duration(it.U32()) * time.Second
		}
	}
	return it.Err()
}
