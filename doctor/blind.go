package doctor

// blindSpots are what no host can see by itself. They are said, so that nobody
// takes silence about them for good news.
func (f *Facts) blindSpots() (list []Unknown) {
	if s := f.Hints.Service; s != nil && f.Director() && !f.hasService(*s) {
		list = append(list, Unknown{s.String(), "this director has no such service (goipvs -L -n lists those it has)"})
	}
	for _, s := range f.Services {
		if f.unclearRequest(s) {
			list = append(list, Unknown{"whether the packet filter lets clients in to " + s.ServiceKey.String(), "it has rules that doctor does not understand (firewall-drops-vip)"})
		}
	}
	if len(f.servers(forwarded...)) > 0 {
		list = append(list,
			Unknown{"what happens on real servers", "run goipvs doctor there too: it sees the other half of DR and TUN"},
			Unknown{"port security and anti-spoofing", "the network may drop answers with the virtual address as source (anti-spoofing); it leaves no trace here"},
			Unknown{"ARP caches of routers", "they keep a wrong MAC address for minutes after its cause is mended"})
	} else if len(held4(f)) > 0 {
		list = append(list, Unknown{"port security and anti-spoofing", "the network may drop answers with the virtual address as source (anti-spoofing); it leaves no trace here"})
	}
	if len(f.servers(forwarded[1])) > 0 || f.tunnelled() && f.RealServer() {
		list = append(list, Unknown{"filters of ICMP errors on the way", "they decide whether a small MTU hurts (tun-mtu)"})
	}
	if len(f.Daemons) > 0 {
		list = append(list, Unknown{"the other director", "its kernel's sync version, its clock and its sync id are not visible here (sync-version, sync-silent)"})
	}
	return list
}
