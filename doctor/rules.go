package doctor

// rules are all faults looked for, from the bottom up: what makes the ones
// after it pointless comes first. Each is in the file of its theme.
func rules() []rule {
	return []rule{
		// kernel.go
		{"module-missing", moduleMissing},
		{"scheduler-missing", schedulerMissing},
		{"foreign-manager", foreignManager},

		// vip.go
		{"vip-missing-director", vipMissingDirector},
		{"rs-vip-missing", rsVIPMissing},
		{"rs-vip-missing-forwarding", rsVIPMissingForwarding},
		{"lo-vip-netmask", loVIPNetmask},
		{"v6-vip-on-link", v6VIPOnLink},
		{"vip-secondary", vipSecondary},

		// arp.go
		{"vip-duplicate", vipDuplicate},
		{"proxy-arp", proxyARP},
		{"arp-flux-vip", arpFluxVIP},
		{"arp-sysctl-wrong-interface", arpSysctlWrongInterface},
		{"vip-on-ethernet", vipOnEthernet},
		{"arp-announce-vip", arpAnnounceVIP},
		{"director-arp-ignore", directorARPIgnore},
		{"garp-on-ifup", garpOnIfup},

		// firewall.go
		{"vrrp-strict-drop", vrrpStrictDrop},
		{"firewall-drops-vip", firewallDropsVIP},
		{"forward-policy-drop", forwardPolicyDrop},
		{"conntrack-invalid-nat", conntrackInvalidNAT},
		{"conntrack-oneway", conntrackOneway},
		{"rs-firewall", rsFirewall},
		{"masquerade-hits-dr", masqueradeHitsDR},
		{"fullnat-conntrack-off", fullnatConntrackOff},
		{"fwmark-unmarked", fwmarkUnmarked},
		{"fwmark-not-local", fwmarkNotLocal},

		// reach.go
		{"rp-filter-director", rpFilterDirector},
		{"rp-filter-rs", rpFilterRS},
		{"dr-off-link", drOffLink},
		{"dr-gateway-is-director", drGatewayIsDirector},
		{"rs-unreachable-l2", rsUnreachableL2},
		{"two-directors-loop", twoDirectorsLoop},
		{"check-misses-vip", checkMissesVIP},
		{"anti-spoofing", antiSpoofing},
		{"self-client", selfClient},

		// nat.go
		{"nat-ip-forward", natIPForward},
		{"nat-rs-gateway", natRSGateway},
		{"nat-same-subnet", natSameSubnet},
		{"one-arm-redirect", oneArmRedirect},
		{"ftp-helper", ftpHelper},

		// tunnel.go
		{"tun-no-receiver", tunNoReceiver},
		{"tun-device-down", tunDeviceDown},
		{"tun-rp-filter", tunRPFilter},
		{"tun-mtu", tunMTU},
		{"gso-oversize", gsoOversize},

		// listen.go
		{"rs-not-listening-vip", rsNotListeningVIP},
		{"localnode-listen", localnodeListen},
		{"udp-wildcard-source", udpWildcardSource},

		// service.go
		{"no-usable-server", noUsableServer},
		{"dr-port-differs", drPortDiffers},
		{"service-on-127", serviceOn127},
		{"ops-with-nat", opsWithNAT},
		{"hash-no-fallback", hashNoFallback},
		{"threshold-reached", thresholdReached},
		{"wlc-flood", wlcFlood},
		{"udp-sticky", udpSticky},
		{"sctp-multihoming", sctpMultihoming},

		// persistence.go
		{"persistent-dead-server", persistentDeadServer},
		{"persistence-skew", persistenceSkew},

		// conntrack.go
		{"conntrack-table-full", conntrackTableFull},
		{"conn-reuse-delay", connReuseDelay},
		{"conn-reuse-off", connReuseOff},
		{"lip-exhausted", lipExhausted},

		// timeouts.go
		{"expire-nodest", expireNodest},
		{"udp-stale-flow", udpStaleFlow},
		{"idle-timeout", idleTimeout},

		// sync.go
		{"sync-silent", syncSilent},
		{"sync-version", syncVersion},

		// tuning.go
		{"drop-defence-on", dropDefenceOn},
		{"estimator-off", estimatorOff},
		{"estimator-jitter", estimatorJitter},
		{"conn-table-small", connTableSmall},
		{"lro-on", lroOn},
		{"tx-checksum", txChecksum},
		{"rs-tw-recycle", rsTWRecycle},
		{"sysctl-not-persistent", sysctlNotPersistent},
	}
}

// symptomOf names the findings that explain another one: where one of them is
// there, the other is not reported.
var symptomOf = map[string][]string{
	"arp-flux-vip":              {"arp-sysctl-wrong-interface", "vip-on-ethernet"},
	"rs-vip-missing":            {"rs-vip-missing-forwarding"},
	"firewall-drops-vip":        {"vrrp-strict-drop"},
	"forward-policy-drop":       {"conntrack-invalid-nat"},
	"nat-rs-gateway":            {"nat-ip-forward", "forward-policy-drop", "conntrack-invalid-nat", "rs-unreachable-l2", "nat-same-subnet"},
	"rs-vip-missing-forwarding": {"dr-off-link", "two-directors-loop"},
	"rp-filter-rs":              {"rs-vip-missing", "rs-vip-missing-forwarding"},
	"tun-rp-filter":             {"rs-vip-missing", "rs-vip-missing-forwarding"},
	"check-misses-vip":          {"dr-off-link", "rs-unreachable-l2", "rs-vip-missing-forwarding", "tun-no-receiver", "tun-device-down", "rs-not-listening-vip", "rs-firewall"},
	"threshold-reached":         {"no-usable-server"},
	"hash-no-fallback":          {"no-usable-server"},
	"expire-nodest":             {"udp-stale-flow"},
	"anti-spoofing":             {"dr-gateway-is-director", "masquerade-hits-dr", "conntrack-oneway"},
	"udp-sticky":                {"persistence-skew"},
}
