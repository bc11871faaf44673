package ipvs

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs/internal/wire"
	"golang.org/x/sys/unix"
)

// Decoders take any bytes without panic, and what they take they can write and
// read again.

func FuzzDecodeService(f *testing.F) {
	for _, s := range everyService(f) {
		var e wire.Encoder
		putService(&e, &s)
		f.Add(e.Buf)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var first, second ServiceInfo
		if decodeService(b, &first, interned{}) != nil {
			return
		}
		var e wire.Encoder
		putService(&e, &first.Service)
		if err := decodeService(e.Buf, &second, interned{}); err != nil {
			t.Fatalf("%+v: %v", first, err)
		}
		if first.Service != second.Service {
			t.Errorf("%+v became %+v", first.Service, second.Service)
		}
	})
}

func FuzzDecodeDestination(f *testing.F) {
	for _, d := range everyDestination {
		var e wire.Encoder
		putDestination(&e, &d)
		f.Add(e.Buf)
		e.Buf = nil
		kernelDestination(&e, &DestinationInfo{Destination: d}, true)
		f.Add(e.Buf)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var first, second DestinationInfo
		if decodeDestination(b, IPv4, &first) != nil {
			return
		}
		var e wire.Encoder
		putDestination(&e, &first.Destination)
		if err := decodeDestination(e.Buf, IPv6, &second); err != nil {
			t.Fatalf("%+v: %v", first, err)
		}
		if first.Destination != second.Destination {
			t.Errorf("%+v became %+v", first.Destination, second.Destination)
		}
	})
}

func FuzzDecodeDaemon(f *testing.F) {
	for _, d := range everyDaemon {
		var e wire.Encoder
		putDaemon(&e, &d)
		f.Add(e.Buf)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var first, second Daemon
		if decodeDaemon(b, &first, interned{}) != nil {
			return
		}
		var e wire.Encoder
		putDaemon(&e, &first)
		if err := decodeDaemon(e.Buf, &second, interned{}); err != nil || first != second {
			t.Errorf("%+v became %+v, %v", first, second, err)
		}
	})
}

func FuzzDecodeControl(f *testing.F) {
	var e wire.Encoder
	e.U32(infoVersion, 0x010201)
	e.U32(infoConnTabSize, 4096)
	f.Add(slices.Clone(e.Buf))
	e.U32(attrTimeoutUDP, 300)
	f.Add(e.Buf)
	f.Fuzz(func(t *testing.T, b []byte) {
		var i Info
		_ = decodeInfo(b, &i)
		var first, second Timeouts
		if decodeTimeouts(b, &first) != nil {
			return
		}
		var e wire.Encoder
		putTimeouts(&e, &first)
		if err := decodeTimeouts(e.Buf, &second); err != nil || first != second {
			t.Errorf("%+v became %+v, %v", first, second, err)
		}
	})
}

// Whatever a kernel answers, a client returns, without panic, and works with
// the next answer. An error is never a success with made-up contents: nothing
// is returned with it.
func FuzzReplies(f *testing.F) {
	f.Add(uint16(28), []byte("nonsense"), false)
	f.Add(uint16(2), []byte{234, 255, 255, 255}, true)
	f.Add(uint16(3), []byte{}, true)
	f.Fuzz(func(t *testing.T, typ uint16, payload []byte, raw bool) {
		s, c := newScript(t)
		s.on = func(s *script, m wire.Message) (unix.Errno, [][]byte) {
			if raw {
				s.queue = append(s.queue, payload)
			} else {
				s.queue = append(s.queue, datagram(typ, m.Seq, payload))
			}
			return silent, nil
		}
		if list, err := c.Services(); err != nil && list != nil {
			t.Errorf("%v and %v", list, err)
		}
		if list, err := c.Destinations(testKey, nil); err != nil && list != nil {
			t.Errorf("%v and %v", list, err)
		}
		if list, err := c.Daemons(); err != nil && list != nil {
			t.Errorf("%v and %v", list, err)
		}
		_, _ = c.Info()
		_, _ = c.Timeouts()
		_, _ = c.Service(testKey)
		_ = c.Do(Change{Op: DeleteService, Service: Service{ServiceKey: testKey}})
		s.on, s.queue = nil, nil
		if err := c.Do(Change{Op: DeleteService, Service: Service{ServiceKey: testKey}}); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// Every change that passes check arrives in the kernel as it was meant.
func FuzzChange(f *testing.F) {
	f.Add(uint8(1), []byte{192, 0, 2, 1}, uint16(80), uint16(6), uint32(0), "wlc", uint32(1), int64(300e9), "", []byte{10, 0, 0, 1}, uint32(0), int32(1), uint8(0))
	f.Add(uint8(4), make([]byte, 16), uint16(80), uint16(17), uint32(0), "sh", uint32(4), int64(0), "sip", make([]byte, 16), uint32(2), int32(70000), uint8(1))
	f.Fuzz(func(t *testing.T, op uint8, vip []byte, port, proto uint16, mark uint32, sched string, flags uint32, timeout int64, pe string, rip []byte, method uint32, weight int32, tun uint8) {
		a, _ := netip.AddrFromSlice(vip)
		r, _ := netip.AddrFromSlice(rip)
		ch := Change{
			Op: Op(op),
			Service: Service{ServiceKey: AddrService(Protocol(proto), netip.AddrPortFrom(a, port)),
				Scheduler: sched, Flags: Flags(flags), Timeout: time.Duration(timeout), PE: pe},
			Destination: Destination{Addr: netip.AddrPortFrom(r, port), Method: Method(method), Weight: weight, Encap: Encap{Type: TunnelType(tun)}},
		}
		if mark != 0 {
			ch.Service.ServiceKey = MarkService(mark, IPv6)
		}
		if ch.check() != nil {
			return
		}
		var e wire.Encoder
		putChange(&e, &ch)
		var s ServiceInfo
		if err := decodeService(e.Buf, &s, interned{}); err != nil {
			t.Fatal(err)
		}
		if ch.Op == AddService || ch.Op == UpdateService {
			if s.Service != ch.Service {
				t.Errorf("%+v became %+v", ch.Service, s.Service)
			}
			return
		}
		if s.ServiceKey != ch.Service.ServiceKey {
			t.Errorf("%+v became %+v", ch.Service.ServiceKey, s.ServiceKey)
		}
		var d DestinationInfo
		if ch.Op == AddDestination || ch.Op == UpdateDestination {
			if err := decodeDestination(e.Buf, 0, &d); err != nil || d.Destination != ch.Destination {
				t.Errorf("%+v became %+v, %v", ch.Destination, d.Destination, err)
			}
		}
	})
}
