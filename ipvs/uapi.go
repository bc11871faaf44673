package ipvs

// The numbers of include/uapi/linux/ip_vs.h, in its order.

const (
	genlName    = "IPVS"
	genlVersion = 1
)

// IPVS_CMD_*
type command uint8

const (
	cmdNewService command = iota + 1
	cmdSetService
	cmdDelService
	cmdGetService
	cmdNewDest
	cmdSetDest
	cmdDelDest
	cmdGetDest
	cmdNewDaemon
	cmdDelDaemon
	cmdGetDaemon
	cmdSetConfig
	cmdGetConfig
	_ // IPVS_CMD_SET_INFO: the kernel's reply to cmdGetInfo
	cmdGetInfo
	cmdZero
	cmdFlush
)

// IPVS_CMD_ATTR_*
const (
	attrService = iota + 1
	attrDest
	attrDaemon
	attrTimeoutTCP
	attrTimeoutTCPFin
	attrTimeoutUDP
)

// IPVS_SVC_ATTR_*
const (
	svcAF = iota + 1
	svcProtocol
	svcAddr
	svcPort
	svcFWMark
	svcSchedName
	svcFlags
	svcTimeout
	svcNetmask
	svcStats
	svcPEName
	svcStats64
)

// IPVS_DEST_ATTR_*
const (
	destAddr = iota + 1
	destPort
	destFwdMethod
	destWeight
	destUThresh
	destLThresh
	destActiveConns
	destInactConns
	destPersistConns
	destStats
	destAddrFamily
	destStats64
	destTunType
	destTunPort
	destTunFlags
)

// IPVS_DAEMON_ATTR_*
const (
	daemonState = iota + 1
	daemonMcastIfn
	daemonSyncID
	daemonSyncMaxlen
	daemonMcastGroup
	daemonMcastGroup6
	daemonMcastPort // in the machine's order, unlike every other port
	daemonMcastTTL
)

// IPVS_STATS_ATTR_*
const (
	statsConns = iota + 1
	statsInPkts
	statsOutPkts
	statsInBytes
	statsOutBytes
	statsCPS
	statsInPPS
	statsOutPPS
	statsInBPS
	statsOutBPS
)

// IPVS_INFO_ATTR_*
const (
	infoVersion = iota + 1
	infoConnTabSize
)

const (
	flagHashed = 0x02      // IP_VS_SVC_F_HASHED
	methodMask = 0x07      // IP_VS_CONN_F_FWD_MASK
	maxName    = 16 - 1    // IP_VS_SCHEDNAME_MAXLEN, IP_VS_PENAME_MAXLEN, IP_VS_IFNAME_MAXLEN
	maxSyncID  = 255       // one byte in the sync protocol
	maxHZ      = 1000      // the fastest clock a kernel is built with
	maxTimeout = 1<<32 - 1 // seconds in an attribute
	maxPersist = maxTimeout / maxHZ

	maxThreshold = 1<<31 - 1 // connections
)
