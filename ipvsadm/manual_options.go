package ipvsadm

// manual is every option in words. The help prints Brief, the manual page Brief
// and More. Defaults stand in parentheses.
var manual = []Group{
	{"SERVICE is one of", []Option{
		{Long: "tcp-service", Value: "HOST:PORT", Brief: "TCP", fold: true,
			More: "An IPv6 address stands in brackets: [2001:db8::1]:80. HOST and PORT may be names; a name in brackets is looked up for IPv6 first. " +
				"Without a port, or with port 0, the service has all ports of the address and must be persistent."},
		{Long: "udp-service", Value: "HOST:PORT", Brief: "UDP", fold: true},
		{Long: "sctp-service", Value: "HOST:PORT", Brief: "SCTP", fold: true},
		{Long: "fwmark-service", Value: "MARK", Brief: "packets with this firewall mark", fold: true,
			More: "MARK is 1 to 4294967295, as a rule of nftables or iptables sets it. Such a service may have many addresses, ports and protocols. " +
				"Packets must be delivered to the director itself: by their address or by a local route."},
		{Long: "ipv6", Brief: "after -f: the service is IPv6", fold: true,
			More: "A mark can have two services, one for each family."},
	}},
	{"Virtual services", []Option{
		{Long: "add-service", Value: "SERVICE", Brief: "add a service"},
		{Long: "edit-service", Value: "SERVICE", Brief: "set the properties of a service anew",
			More: "Properties that are not given return to their defaults: scheduler wlc, no flags, not persistent. Real servers and connections stay."},
		{Long: "delete-service", Value: "SERVICE", Brief: "delete a service and its real servers"},
		{Long: "scheduler", Value: "NAME", Brief: "which real server a connection gets (wlc)",
			More:  "The kernel needs the module ip_vs_NAME. SCHEDULERS below says which to take when.",
			Words: "rr wrr lc wlc sh mh dh sed nq lblc lblcr fo ovf", list: true},
		{Long: "persistent", Value: "[SECONDS]", Brief: "keep clients with their server (360)",
			More: "1 to 2678400 seconds. The next word is SECONDS unless it begins with a dash. See PERSISTENCE below."},
		{Long: "netmask", Value: "MASK", Brief: "keep clients of one network together",
			More: "With -p: a prefix length, or for IPv4 a mask such as 255.255.255.0. Every client is for itself if not given."},
		{Long: "pe", Value: "ENGINE", Brief: "persistence engine: sip",
			More:  "With -p: keep together what the engine says. sip goes by the Call-ID of SIP messages over UDP; its module is ip_vs_pe_sip.",
			Words: "sip"},
		{Long: "ops", Brief: "schedule each UDP datagram by itself",
			More: "One-packet scheduling, for UDP and firewall marks. Real servers must answer clients themselves (-g or -i): " +
				"with -m answers leave with the address of the real server."},
		{Long: "sched-flags", Value: "FLAG,...", Brief: "fine points of sh and mh",
			More: "sh-port, mh-port: the client's port counts as well as its address. sh-fallback, mh-fallback: when the server that a client should have " +
				"has weight 0 or is full, take another; without it the client is refused. flag-1, flag-2, flag-3: the bits as such, for any scheduler.",
			Words: "sh-fallback sh-port mh-fallback mh-port flag-1 flag-2 flag-3", list: true},
	}},
	{"Real servers", []Option{
		{Long: "add-server", Value: "SERVICE SERVER", Brief: "add a real server"},
		{Long: "edit-server", Value: "SERVICE SERVER", Brief: "set the properties of a real server anew",
			More: "Properties that are not given return to their defaults: direct routing, weight 1, no thresholds."},
		{Long: "delete-server", Value: "SERVICE SERVER", Brief: "delete a real server"},
		{Long: "real-server", Value: "HOST[:PORT]", Brief: "SERVER; the service's port if not given",
			More: "-a and -e with -g or -i always take the service's port, since packets reach the server unchanged; firewall-mark services have none."},
		{Long: "gatewaying", Brief: "direct routing (this if none is given)",
			More: "FORWARDING below says what each of the three methods needs."},
		{Long: "ipip", Brief: "tunnel, also to the other IP family"},
		{Long: "masquerading", Brief: "NAT, also to another port"},
		{Long: "fullnat", Brief: "full NAT, by goipvsd",
			More: "FULLNAT below says what it is. With -A and -E, where -b is --sched-flags, it has its long name only; a service that has no real servers yet " +
				"becomes full NAT's by its first one with -b, too."},
		{Long: "weight", Value: "N", Brief: "share of new connections, 0 for none (1)",
			More: "Up to 2147483647. With weight 0 the connections that exist go on, and persistent clients may still come: see PERSISTENCE."},
		{Long: "u-threshold", Value: "N", Brief: "at N connections no new ones (0: no limit)"},
		{Long: "l-threshold", Value: "N", Brief: "and none until there are fewer than N",
			More: "Not above -x. With 0, the default, it is three quarters of -x."},
		{Long: "tun-type", Value: "ipip|gue|gre", Brief: "what -i wraps packets in (ipip)", Words: "ipip gue gre", fold: true},
		{Long: "tun-port", Value: "PORT", Brief: "UDP port of gue", More: "gue cannot be without it.", fold: true},
		{Long: "tun-nocsum", Brief: "no checksums in gue and gre (this if none is given)", fold: true},
		{Long: "tun-csum", Brief: "checksums in gue and gre", fold: true},
		{Long: "tun-remcsum", Brief: "remote checksum offload in gue", fold: true},
	}},
	{"Full NAT, in goipvsd", []Option{
		{Long: "add-laddr", Value: "SERVICE -z LIP", Brief: "add a local address to a service",
			More: "Connections to real servers come from the local addresses of their service, or from one that the kernel chooses if it has none. " +
				"Real servers must know the way back to it."},
		{Long: "del-laddr", Value: "SERVICE -z LIP", Brief: "delete a local address of a service"},
		{Long: "get-laddr", Value: "[SERVICE]", Brief: "list local addresses"},
		{Long: "laddr", Value: "LIP", Brief: "the local address, in numbers", fold: true},
		{Long: "proxy-protocol", Value: "VERSION", Brief: "header that names the client (disable)",
			More:  "With -A and -E: a header of the PROXY protocol in front of the client's data. v1 is text and for TCP only. Over UDP v2 goes before a session's first datagram, v2-every before each one.",
			Words: "v1 v2 v2-every disable"},
		{Long: "plane", Value: "PLANE", Brief: "where full NAT is done (auto)",
			More:  "With -A and -E. kernel: by IPVS and nf_tables; userspace: by goipvsd itself, which can tell who the client is and needs neither; auto: in the kernel if it can do what is asked.",
			Words: "auto kernel userspace"},
		{Long: "synproxy", Value: "enable|disable", Brief: "does nothing: SYN cookies do it", Words: "enable disable", fold: true},
	}},
	{"Lists", []Option{
		{Long: "list", Value: "[SERVICE]", Brief: "list services; no command at all does too",
			More: "-l is the same. The views --stats, --rate, --thresholds, --persistent-conn and --tun-info show one thing each, the first named here if several are given."},
		{Long: "numeric", Brief: "numbers, not names",
			More: "Otherwise names are asked for, all at once; what is not answered within 2 seconds is printed as a number."},
		{Long: "connection", Brief: "the connections"},
		{Long: "stats", Brief: "counters of connections, packets and bytes"},
		{Long: "rate", Brief: "the same per second"},
		{Long: "json", Brief: "one JSON document, with any view",
			More: "Names of fields stay as they are, numbers are in full, addresses are never names."},
		{Long: "thresholds", Brief: "thresholds of the real servers", fold: true},
		{Long: "persistent-conn", Brief: "clients kept by persistence", More: "With -c: the data of the persistence engine.", fold: true},
		{Long: "tun-info", Brief: "tunnels of the real servers", fold: true},
		{Long: "timeout", Brief: "the timeouts of --set", fold: true},
		{Long: "daemon", Brief: "the synchronization daemons that run", fold: true},
		{Long: "exact", Brief: "counters in full, not in K, M, G, T", fold: true},
		{Long: "nosort", Brief: "the kernel's order, not sorted by address", fold: true},
		{Long: "sort", Brief: "does nothing: listings are sorted", fold: true},
	}},
	{"The whole table", []Option{
		{Long: "save", Brief: "print the rules that restore the table",
			More: "Use -n for rules that will mean the same tomorrow. RESTORE below says what can be done with them."},
		{Long: "restore", Brief: "carry out rules from standard input"},
		{Long: "clear", Brief: "delete all services", More: "Timeouts and synchronization daemons stay as they are."},
		{Long: "zero", Value: "[SERVICE]", Brief: "zero the counters"},
		{Long: "set", Value: "TCP TCPFIN UDP", Brief: "timeouts in seconds; 0 leaves one as it is",
			More: "How long an idle TCP connection, one after a FIN, and a UDP flow are remembered: 0 to 2678400 seconds each."},
	}},
	{"Connection synchronization", []Option{
		{Long: "start-daemon", Value: "master|backup", Brief: "send connections, or receive them",
			More: "Both may run at once.", Words: "master backup"},
		{Long: "stop-daemon", Value: "master|backup", Brief: "stop sending, or receiving", Words: "master backup"},
		{Long: "mcast-interface", Value: "IF", Brief: "interface for the messages (eth0)", fold: true},
		{Long: "syncid", Value: "N", Brief: "0 to 255: a backup takes only messages of its own, with 0 all (0)", fold: true},
		{Long: "sync-maxlen", Value: "BYTES", Brief: "longest message (what the interface can carry)", More: "1 to 65507.", fold: true},
		{Long: "mcast-group", Value: "ADDRESS", Brief: "multicast group (224.0.0.81)", fold: true},
		{Long: "mcast-port", Value: "PORT", Brief: "UDP port (8848)", fold: true},
		{Long: "mcast-ttl", Value: "N", Brief: "hops, 1 to 255 (1)", fold: true},
	}},
	{"Besides", []Option{
		{Long: "ensure", Brief: "with -A -E -D -a -e -d: make it so",
			More: "When it is so already, nothing happens and nothing is printed; otherwise the change that was made is printed as a rule. " +
				"-A and -E are the same then, and so are -a and -e; deleting what is not there is no error."},
		{Long: "help", Brief: "print this"},
		{Long: "version", Brief: "print the version"},
	}},
}

var examples = []Example{
	{"A service by NAT, with one real server on another port",
		"PROG -A -t 192.0.2.10:80 -s wlc\n" +
			"PROG -a -t 192.0.2.10:80 -r 10.0.0.11:8080 -m -w 2\n"},
	{"Give that server no new connections, and see how many it still has",
		"PROG -e -t 192.0.2.10:80 -r 10.0.0.11:8080 -m -w 0\n" +
			"PROG -L -n -t 192.0.2.10:80\n"},
	{"Save the table, and later make it what was saved, by the fewest changes",
		"PROG -S -n > web.rules\n" +
			"goipvs apply --prune web.rules\n"},
}
