package importer

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/ipvs"
)

// silentGlobals say how keepalived works and nothing of services.
var silentGlobals = set("enable_script_security smtp_connect_timeout smtp_alert smtp_alert_checker checker_log_all_failures lvs_netlink_monitor_rcv_bufs " +
	"use_symlink_paths config_save_dir tmp_config_directory umask")

func (k *keepalived) globalLine(b *block) {
	a := &k.cfg.Alert
	switch name := b.name(); name {
	case "notification_email":
		for _, s := range b.sub {
			k.mailTo(s, s.words...)
		}
		k.mailTo(b, b.words[1:]...)
	case "notification_email_from":
		if !isMailbox(b.arg(0)) {
			k.lost(b, "no mail address")
			return
		}
		a.MailFrom = b.arg(0)
	case "smtp_server":
		k.smtp(b)
	case "script_user":
		if k.cfg.CommandUser = k.user(b, b.words[1:]); strings.HasPrefix(k.cfg.CommandUser+":", "root:") {
			k.cfg.CommandUser = ""
			k.lost(b, "commands run as the daemon, as root only if that is root")
		}
	case "lvs_sync_daemon":
		k.syncDaemon(b)
	case "lvs_timeouts":
		k.timeouts(b)
	case "lvs_flush_onstop", "lvs_flush_on_stop":
		k.cfg.OnStop = config.StopFlush
	case "lvs_flush":
		k.lost(b, "goipvs takes over what the kernel has and flushes nothing")
	case "no_checker_emails":
		a.MailTo = nil
	default:
		if !silentGlobals[name] {
			k.lost(b, noLike)
		}
	}
}

func (k *keepalived) mailTo(b *block, words ...string) {
	for _, m := range words {
		if isMailbox(m) {
			k.cfg.Alert.MailTo = append(k.cfg.Alert.MailTo, m)
		} else {
			k.lost(b, "no mail address")
		}
	}
	if k.cfg.Alert.SMTP == "" && len(k.cfg.Alert.MailTo) > 0 {
		k.cfg.Alert.SMTP = "localhost:25"
	}
}

func (k *keepalived) smtp(b *block) {
	host, port := b.arg(0), b.arg(1)
	if port == "" {
		port = "25"
	}
	if _, err := k.port(port, ipvs.TCP); err != nil || !isName(host) && !isAddress(host) {
		k.lost(b, "no host and port")
		return
	}
	k.cfg.Alert.SMTP = net.JoinHostPort(strings.Trim(host, "[]"), port)
}

// syncDaemon reads lvs_sync_daemon IF [INSTANCE|inst NAME] [id N] [maxlen N]
// [port N] [ttl N] [group ADDRESS]. Without an instance both roles run; with one
// keepalived switches between them, which goipvs does not.
func (k *keepalived) syncDaemon(b *block) {
	d := ipvs.Daemon{Interface: b.arg(0)}
	words, instance := b.words[min(2, len(b.words)):], ""
	for i := 0; i < len(words); i++ {
		value := ""
		if i+1 < len(words) {
			value = words[i+1]
		}
		n, err := strconv.ParseUint(value, 10, 16)
		switch words[i] {
		case "id":
			d.SyncID = uint32(n)
		case "maxlen":
			d.MaxLen = uint16(n)
		case "port":
			d.Port = uint16(n)
		case "ttl":
			d.TTL, err = uint8(n), overflow(err, n, 255)
		case "group":
			d.Group, err = netip.ParseAddr(value)
		case "inst":
			instance, err = value, nil
		default:
			instance, err = words[i], nil
			i--
		}
		if i++; err != nil {
			k.lost(b, "bad number "+clip(value))
			return
		}
	}
	if len(k.cfg.Sync) > 0 || d.Interface == "" {
		k.lost(b, "left out")
		return
	}
	d.State = ipvs.Master
	backup := d
	backup.State = ipvs.Backup
	k.cfg.Sync = []ipvs.Daemon{d, backup}
	if instance != "" {
		k.lost(b, "the roles do not follow VRRP instance "+clip(instance)+": both run")
	}
}

func overflow(err error, n, most uint64) error {
	if err == nil && n > most {
		return strconv.ErrRange
	}
	return err
}

func (k *keepalived) timeouts(b *block) {
	for i := 1; i+1 < len(b.words); i += 2 {
		n, err := strconv.Atoi(b.words[i+1])
		at := map[string]*time.Duration{"tcp": &k.cfg.Timeouts.TCP, "tcpfin": &k.cfg.Timeouts.TCPFin, "udp": &k.cfg.Timeouts.UDP}[b.words[i]]
		if err != nil || at == nil || n < 1 || n > 30*86400 {
			k.lost(b, "bad timeout")
			return
		}
		*at = time.Duration(n) * time.Second
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
