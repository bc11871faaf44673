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

// silentGlobals are said of keepalived alone, or are so here in any case.
var silentGlobals = set("enable_script_security smtp_connect_timeout checker_log_all_failures lvs_netlink_monitor_rcv_bufs use_symlink_paths config_save_dir tmp_config_directory")

func (k *keepalived) globalLine(b *block) {
	switch name := b.name(); name {
	case "notification_email":
		for _, s := range b.sub {
			k.mailboxes(s, s.words...)
		}
		k.mailboxes(b, b.words[1:]...)
	case "notification_email_from":
		if !isMailbox(b.arg(0)) {
			k.lost(b, "no mail address")
			return
		}
		k.daemon(b.place, func(c *config.Config) { c.Alert.MailFrom = b.arg(0) })
	case "smtp_server":
		k.smtp(b)
	case "smtp_alert", "smtp_alert_checker", "no_checker_emails":
		k.mailWords[name] = name != "no_checker_emails" && k.truth(b)
	case "script_user":
		user := k.user(b, b.words[1:])
		if strings.HasPrefix(user+":", "root:") {
			user = ""
			k.lost(b, "commands run as the daemon, as root only if that is root")
		}
		k.daemon(b.place, func(c *config.Config) { c.CommandUser = user })
	case "lvs_sync_daemon":
		k.syncDaemon(b)
	case "lvs_timeouts":
		k.timeouts(b)
	case "lvs_flush_onstop", "lvs_flush_on_stop":
		k.cfg.OnStop = config.StopFlush
	case "lvs_flush":
		k.lost(b, "goipvs takes over what the kernel has and flushes nothing")
	case "notify_fifo", "notify_fifo_script", "lvs_notify_fifo", "lvs_notify_fifo_script":
		k.lost(b, "nothing is written to a FIFO: notify_up and notify_down of services and servers, and command of [alert], hear the same")
	default:
		if !silentGlobals[name] {
			k.lost(b, noLike)
		}
	}
}

func (k *keepalived) mailboxes(b *block, words ...string) {
	for _, m := range words {
		if isMailbox(m) {
			k.mailTo(b.place, m)
		} else {
			k.lost(b, "no mail address")
		}
	}
}

// mails decides who gets mail when all is read that says whether checks send
// any: the first of these words that is there.
func (k *keepalived) mails() {
	k.mailing = len(k.cfg.Alert.MailTo) > 0
	for _, name := range []string{"no_checker_emails", "smtp_alert_checker", "smtp_alert"} {
		if on, said := k.mailWords[name]; said {
			if !on {
				k.cfg.Alert.MailTo = nil
			}
			return
		}
	}
}

// smtpAlert takes a service's or a real server's own word on mail.
func (k *keepalived) smtpAlert(b *block) {
	if k.mailing && k.truth(b) != (len(k.cfg.Alert.MailTo) > 0) {
		k.lost(b, "mail is of all services or of none, see [alert]")
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
	k.daemon(b.place, func(c *config.Config) { c.Alert.SMTP = net.JoinHostPort(strings.Trim(host, "[]"), port) })
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
	k.daemon(b.place, func(c *config.Config) { c.Sync = []ipvs.Daemon{d, backup} })
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

// timeouts reads lvs_timeouts [tcp N] [tcpfin N] [udp N].
func (k *keepalived) timeouts(b *block) {
	if len(b.words) == 1 {
		k.lost(b, "no timeout")
	}
	for i := 1; i < len(b.words); i += 2 {
		n, err := strconv.Atoi(b.arg(i))
		if err != nil || n < 1 || n > 30*86400 {
			k.lost(b, "bad timeout")
			return
		}
		t := &k.cfg.Timeouts
		switch span := time.Duration(n) * time.Second; b.words[i] {
		case "tcp":
			t.TCP = span
		case "tcpfin":
			t.TCPFin = span
		case "udp":
			t.UDP = span
		default:
			k.lost(b, "bad timeout")
			return
		}
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
