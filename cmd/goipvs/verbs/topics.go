package verbs

var schedulers = Topic{
	Name: "schedulers", Brief: "which real server a new connection gets",
	Blocks: []Block{
		{Text: "Choose with goipvs -A SERVICE -s NAME. Only new connections are scheduled: those that exist, and persistent clients, stay with their server. " +
			"A server of weight 0, or one that is full (-x), gets none. When in doubt take wlc, the default."},
		{Terms: [][2]string{
			{"rr", "each in its turn; for equal servers and short requests"},
			{"wrr", "in turn, as often as the weight says; for unequal servers"},
			{"lc", "fewest connections; for equal servers, requests of any length"},
			{"wlc", "fewest connections for its weight; for most services"},
			{"sed", "soonest done, (active + 1) / weight; for few, long connections"},
			{"nq", "an idle server at once, else as sed; for requests that cannot wait"},
			{"sh", "by client address; for clients to return, if servers seldom change"},
			{"mh", "as sh, but few clients move when servers change; in place of sh"},
			{"dh", "by virtual address; for caches behind a firewall mark"},
			{"lblc", "an address keeps its server until that is overloaded; for caches"},
			{"lblcr", "as lblc, with several servers for a busy address; for caches"},
			{"fo", "all to the highest weight; for a main server and its stand-bys"},
			{"ovf", "highest weight until active > weight; to fill servers one by one"},
		}},
		{Text: "active are the connections that --list shows as ActiveConn, idle is a server without any. UDP has no active ones: sed, nq, ovf, lblc and lblcr would send all of an address to one server."},
		{Text: "sh and mh refuse a client whose server has weight 0 or is full, unless -b sh-fallback or -b mh-fallback lets it have another. " +
			"With -b sh-port or -b mh-port every connection of a client is placed by itself. " +
			"The weights of sh should add up to no more than 256: that is the size of its table."},
		{Text: "\"scheduler not available\" means that the kernel lacks the module: modprobe ip_vs_NAME."},
	},
}

var forwarding = Topic{
	Name: "forwarding", Brief: "how packets reach the real servers",
	Blocks: []Block{
		{Text: "Each real server has its own method, given with -a and -e. VIP is the virtual address; the director has it in every case."},
		{Table: [][]string{
			{"", "NAT", "DR", "TUN"},
			{"option", "-m, --masquerading", "-g, --gatewaying; this when none is given", "-i, --ipip"},
			{"packet", "gets the server's address and port", "unchanged, only sent to the server's MAC address", "unchanged, inside another packet"},
			{"server is", "anywhere, if its way back to clients is the director", "in a network of the director's, no router between", "anywhere that the director can reach"},
			{"server's port", "any", "the service's", "the service's"},
			{"IPv4 and IPv6", "the service's", "the service's", "either"},
			{"answers go", "through the director", "straight to the client", "straight to the client"},
			{"server needs", "the director as its gateway; not the VIP", "VIP/32 on lo; arp_ignore=1 and arp_announce=2; a gateway that is not the director", "VIP/32 on lo or the tunnel device, which is up; rp_filter=0 on it; arp_* as for DR if it is in the VIP's network"},
			{"director needs", "ip_forward=1; IPv6: forwarding=1", "nothing", "an MTU with room for the header: ipip 20, gre 24, gue 32 bytes with IPv4"},
		}},
		{Text: "On the real server goipvs realserver add VIP does what follows, keeps to the order, and can undo it; with --mode tun for TUN."},
		{Text: "DR, on the real server, first the sysctls and then the address. IPv6 needs no sysctls: VIP/128 on lo is enough."},
		{Code: "sysctl -w net.ipv4.conf.all.arp_ignore=1\n" +
			"sysctl -w net.ipv4.conf.all.arp_announce=2\n" +
			"ip address add 192.0.2.10/32 dev lo\n"},
		{Text: "TUN, on the real server, for ipip. The packets of gue arrive at the same device once fou listens; gre has gre0 in place of tunl0."},
		{Code: "modprobe ipip                   # gre: ip_gre; gue: ipip and fou\n" +
			"ip link set tunl0 up\n" +
			"sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.tunl0.rp_filter=0\n" +
			"ip address add 192.0.2.10/32 dev tunl0\n" +
			"ip fou add port 6080 gue        # only for --tun-type gue --tun-port 6080\n"},
		{Text: "NAT, on the director. When clients and servers come by the same interface, send_redirects must be 0, for all and for that interface; " +
			"and clients in the servers' own network get no answer, since servers answer them past the director."},
		{Code: "sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1\n"},
		{Text: "Full NAT, which needs nothing on the real server: goipvs help fullnat."},
	},
}

var fullNAT = Topic{
	Name: "fullnat", Brief: "both addresses are rewritten, so real servers need nothing",
	Blocks: []Block{
		{Text: "Real servers see connections that come from the director, and answer it. They need no VIP, no sysctls and no route back, and may be anywhere. " +
			"goipvsd does it; it must run. The commands are those of the kernel's services, and -b is one more forwarding method:"},
		{Code: "goipvs -A -t 192.0.2.10:80 -s wlc\n" +
			"goipvs -P -t 192.0.2.10:80 -z 10.0.0.1      # a local address, or several\n" +
			"goipvs -a -t 192.0.2.10:80 -r 10.1.0.11:8080 -b -w 2\n"},
		{Terms: [][2]string{
			{"-A ... --fullnat", "makes it full NAT at once; a service of the kernel without real servers becomes it by the first -P or -a -b"},
			{"-P, -Q, -G", "local addresses (LIP) of a service: add, delete, list. Without any the kernel chooses one by its routes. " +
				"Each serves every TCP server with as many connections as there are local ports: add one before they run out"},
			{"--proxy-protocol v2", "with -A or -E: tell real servers the client's address in a header"},
			{"-x, -y, -w, -p, -s", "as in the kernel: schedulers choose alike"},
		}},
		{Text: "All real servers of a service are full NAT's, or none. Persistence engines and SCTP are the kernel's alone. In user space firewall marks and port 0 take CAP_NET_ADMIN and the module nft_tproxy."},
		{Text: "Services that are made so are kept by goipvsd across its restarts, and by -S, -R and goipvs apply like the kernel's. " +
			"Services of goipvsd's file are changed in the file only; -L shows both."},
		{Text: "GOIPVS_SOCKET names goipvsd's control socket if it is not /run/goipvs/goipvs.sock. Only root and the user of goipvsd may change something."},
	},
}

var persistence = Topic{
	Name: "persistence", Brief: "a client stays with its real server",
	Blocks: []Block{
		{Code: "goipvs -A -t 192.0.2.10:443 -s wlc -p 600\n"},
		{Text: "The first connection of a client is scheduled and remembered. While it is remembered all further ones go to the same server: " +
			"until 600 seconds have passed without a new one and those there were have ended."},
		{Terms: [][2]string{
			{"-p [SECONDS]", "how long; 360 if not given"},
			{"-M MASK", "clients of one network are one client: -M 24, or -M 64 for IPv6. Their first one decides for all."},
			{"-t VIP:0 -p", "port 0: all ports of the address together, such as 80 and 443"},
			{"-f MARK -p", "all that carries the mark together, TCP and UDP alike"},
			{"--pe sip", "by the Call-ID of SIP over UDP, not by the client's address"},
		}},
		{Text: "Remembered clients come even to a server of weight 0, and to one that is full. To let a server run empty also tell the kernel to forget them " +
			"when the weight is 0:"},
		{Code: "sysctl -w net.ipv4.vs.expire_quiescent_template=1\n"},
		{Text: "What is remembered:"},
		{Code: "goipvs -L -n --persistent-conn   # how many, for each real server\n" +
			"goipvs -L -n -c                  # which: the rows whose client port is 0\n"},
		{Text: "Many users behind one address are one client and get one server. -s mh or -s sh keep clients together too, without memory: goipvs help schedulers."},
	},
}

var restore = Topic{
	Name: "restore", Brief: "rules files, and three ways to put them into effect",
	Blocks: []Block{
		{Code: "goipvs -S -n > web.rules         # save\n" +
			"goipvs diff --prune web.rules    # what would have to change\n" +
			"goipvs apply --prune web.rules   # change that\n"},
		{Text: "A rules file is command lines without the program's name, though the name in front does no harm. " +
			"There are no quotes. With -n it holds no names, which may mean something else later."},
		{Table: [][]string{
			{"", "goipvs apply FILE", "ipvsadm-restore < FILE", "goipvs -R < FILE"},
			{"the table", "services of the file become what it says; others stay, without --prune", "becomes what the file says", "gets the rules added"},
			{"what is there", "stays if it is equal, is changed if not", "stays if it is equal, is changed if not", "is an error for -A and -a"},
			{"lines may be", "-A, -P and -a", "any command; with others than these the table is emptied first", "any command but -R, -h and -v"},
			{"comments", "# at the start of a line or after a blank", "lines that begin with #", "# at the start of a line or after a blank"},
			{"prints", "the changes", "nothing", "nothing"},
			{"kernel refuses", "exit status 1", "exit status 255", "exit status 255"},
		}},
		{Text: "All three read and check the whole file first. If one line is wrong, every wrong line is named and nothing is changed. " +
			"A rule that the kernel refuses is named with its line, and the others are carried out."},
		{Text: "What does not change keeps its connections, counters and persistent clients, so apply and ipvsadm-restore can run as often as you like."},
		{Text: "Timeouts (--set) and synchronization daemons are not part of what -S prints. Lines for them may stand in a file for goipvs -R."},
	},
}
