package topo

import (
	"encoding/binary"
	"fmt"
	"io"
)

// WritePcap writes packets as a file that tcpdump and Wireshark read: pcap with
// times in nanoseconds, in the byte order of the magic number.
func WritePcap(w io.Writer, packets []Packet) error {
	const magic, major, minor, snaplen, ethernet = 0xa1b23c4d, 2, 4, 1 << 18, 1
	le := binary.LittleEndian
	b := le.AppendUint32(nil, magic)
	b = le.AppendUint16(b, major)
	b = le.AppendUint16(b, minor)
	b = append(b, make([]byte, 8)...) // time zone and accuracy: always 0
	b = le.AppendUint32(b, snaplen)
	b = le.AppendUint32(b, ethernet)
	for _, p := range packets {
		b = le.AppendUint32(b, uint32(p.Time.Unix()))
		b = le.AppendUint32(b, uint32(p.Time.Nanosecond()))
		b = le.AppendUint32(b, uint32(len(p.Frame)))
		b = le.AppendUint32(b, uint32(p.Length))
		b = append(b, p.Frame...)
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("topo: write pcap: %w", err)
	}
	return nil
}
