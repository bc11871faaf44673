package realserver

import (
	"encoding/binary"
	"errors"
	"strconv"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

func (q port) String() string {
	return "GUE port " + strconv.Itoa(int(q.Port)) + " (IPv" + strconv.Itoa(q.Outer) + ")"
}

func (q port) family() uint8 {
	if q.Outer == 6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// openPorts are the ports on which this host takes GUE packets; none where the
// kernel has no fou.
func openPorts() (all []port, err error) {
	if _, err := netlink.GenlFamilyGet(netlink.FOU_GENL_NAME); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return nil, nil
		}
		return nil, &OpError{"list GUE ports", "", err}
	}
	list, err := netlink.FouList(unix.AF_UNSPEC)
	if err != nil {
		return nil, &OpError{"list GUE ports", "", err}
	}
	for _, f := range list {
		if f.EncapType != netlink.FOU_ENCAP_GUE {
			continue
		}
		q := port{4, uint16(f.Port)}
		if f.Family == unix.AF_INET6 {
			q.Outer = 6
		}
		all = append(all, q)
	}
	return all, nil
}

func (q port) open() error {
	if _, err := netlink.GenlFamilyGet(netlink.FOU_GENL_NAME); errors.Is(err, unix.ENOENT) {
		ask("fou")
		if q.Outer == 6 {
			ask("fou6")
		}
	}
	return q.do("open", netlink.FOU_CMD_ADD, nl.NewRtAttr(netlink.FOU_ATTR_TYPE, []byte{netlink.FOU_ENCAP_GUE}))
}

func (q port) close() error { return q.do("close", netlink.FOU_CMD_DEL) }

// do sends a command of include/uapi/linux/fou.h. netlink.FouAdd adds an IP
// protocol of 0, which kernels from about 6.1 on refuse for GUE.
func (q port) do(op string, cmd uint8, attrs ...*nl.RtAttr) error {
	fou, err := netlink.GenlFamilyGet(netlink.FOU_GENL_NAME)
	if errors.Is(err, unix.ENOENT) {
		err = errNoModule
	}
	if err != nil {
		return &OpError{op, q.String(), err}
	}
	req := nl.NewNetlinkRequest(int(fou.ID), unix.NLM_F_ACK)
	req.AddData(&nl.Genlmsg{Command: cmd, Version: 1})
	req.AddData(nl.NewRtAttr(netlink.FOU_ATTR_PORT, binary.BigEndian.AppendUint16(nil, q.Port)))
	req.AddData(nl.NewRtAttr(netlink.FOU_ATTR_AF, []byte{q.family()}))
	for _, a := range attrs {
		req.AddData(a)
	}
	if _, err := req.Execute(unix.NETLINK_GENERIC, 0); err != nil {
		return &OpError{op, q.String(), err}
	}
	return nil
}
