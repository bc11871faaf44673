package daemon

import (
	"encoding/binary"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// framed is a message as the wire has it, without files.
func framed(body []byte, files int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	return append(binary.BigEndian.AppendUint32(b, uint32(files)), body...)
}

// FuzzHandover: what the other process of an upgrade sends, whatever it is, is a
// message or an error, at once, and no descriptor is left behind. What is a
// message is one again when it is sent.
func FuzzHandover(f *testing.F) {
	key := ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.1:80"))
	server := netip.MustParseAddrPort("10.0.0.1:80")
	state := stateFile(state{
		Persistent: director.Persistent{
			Overrides: map[director.ServerID]*director.Override{{Service: key, Addr: server}: {Kind: director.Drain, By: "root", Since: time.Unix(1, 0)}},
			Owned:     map[ipvs.ServiceKey]bool{key: true},
		},
		Addresses: map[string]netip.Addr{"rs1.example": server.Addr()},
		Services:  []fullnat.Service{{Service: ipvs.Service{ServiceKey: key, Scheduler: "wlc"}, Destinations: []ipvs.Destination{{Addr: server, Method: ipvs.FullNAT, Weight: 1}}}},
		VIPs:      map[string]string{"192.0.2.1": "eth0"},
		Rules:     []string{"-A -t 192.0.2.1:80 -s wlc --fullnat"},
	})
	for _, m := range []message{
		{Step: stepHello, Protocol: protocol},
		{Step: stepPrepared},
		{Step: stepFailed, Error: "goipvs.toml:3: unknown key"},
		{Step: stepState, State: &state, Known: &director.Knowledge{Services: []director.ServiceKnowledge{{Up: true, Servers: []director.ServerKnowledge{{Server: server, Health: director.Up}}}}}},
		{Step: stepReady},
		{Step: stepGo, Clients: &fullnat.State{At: time.Unix(1, 0), Templates: []fullnat.ClientState{{Protocol: ipvs.TCP, Virtual: key.Addr, Server: server}}}},
		{Step: stepTaken},
	} {
		body, err := json.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(framed(body, 0))
		f.Add(framed(body, 3))
		f.Add(framed(body, 0)[:len(body)])
	}
	f.Add(framed(nil, 0))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x3f, 0xff, 0xff, 0xff, 0, 0, 0, 0, '{'})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 32<<10 {
			return // more than the socket takes at once
		}
		m, ok := received(t, b)
		if !ok {
			return
		}
		if m.State != nil {
			st := m.State.state()
			again := stateFile(st)
			m.State = &again
		}
		body, err := json.Marshal(m)
		if err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		if len(body) > 32<<10 {
			return
		}
		if _, ok := received(t, framed(body, 0)); !ok {
			t.Errorf("what was received cannot be sent: %s", body)
		}
	})
}

// received reads one message from bytes that the other end of a wire sends before
// it closes.
func received(t *testing.T, b []byte) (m message, ok bool) {
	t.Helper()
	ours, theirs, err := newWires()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.close()
	conn, err := net.FileConn(theirs)
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 0 {
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	conn.Close()
	files, err := ours.receive(&m, 30*time.Second)
	if os.IsTimeout(err) {
		t.Fatal("it waited for what does not come")
	}
	if err != nil && len(files) > 0 {
		t.Errorf("%d files beside the error %v", len(files), err)
	}
	closeAll(files)
	return m, err == nil
}

// TestHandoverFiles: files come with their message, many of them, and fewer than
// announced are an error that leaves none open.
func TestHandoverFiles(t *testing.T) {
	ours, theirs, err := newWires()
	if err != nil {
		t.Fatal(err)
	}
	other, err := newWire(theirs)
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	many := make([]*os.File, 2*filesAtOnce+1)
	for i := range many {
		many[i] = null
	}
	sent := make(chan error, 1)
	go func() { sent <- other.send(message{Step: stepState}, time.Minute, many...) }()
	var m message
	files, err := ours.receive(&m, time.Minute)
	if err != nil || len(files) != len(many) || m.Step != stepState || <-sent != nil {
		t.Fatalf("%d files, %+v, %v", len(files), m, err)
	}
	closeAll(files)

	open := descriptors(t)
	head := framed(nil, 3)
	if _, err := other.conn.Write(head); err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.conn.WriteMsgUnix([]byte{1}, unix.UnixRights(int(null.Fd())), nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.conn.WriteMsgUnix([]byte{2}, unix.UnixRights(int(null.Fd())), nil); err != nil { // says two, brings one
		t.Fatal(err)
	}
	if files, err := ours.receive(&m, time.Minute); err == nil || len(files) != 0 {
		t.Errorf("%d files, %v", len(files), err)
	}
	if now := descriptors(t); now > open {
		t.Errorf("%d descriptors are open, %d were", now, open)
	}
	ours.close()
	other.close()
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
