package config

import "slices"

// others are keys of other programs and what they are called here.
var others = map[string]string{
	"checkinterval": "interval", "checktimeout": "timeout", "negotiatetimeout": "timeout", "failurecount": "fall", "checkcount": "fall",
	"checktype": "type", "checkport": "port", "checkcommand": "command", "httpmethod": "method", "passwd": "password", "emailalert": "mail_to",
	"emailalertfrom": "mail_from", "emailalertfreq": "repeat", "cleanstop": "on_stop", "maintenancedir": "maintenance_dir", "ops": "one_packet",
	"schedflags": "scheduler_flags", "netmask": "persistent_prefix", "fallbackcommand": "fallback_command",
	"lb_algo": "scheduler", "lvs_sched": "scheduler", "lb_kind": "forward", "lvs_method": "forward", "delay_loop": "interval", "connect_timeout": "timeout",
	"persistence_timeout": "persistent", "persistence_granularity": "persistent_prefix", "sorry_server": "fallback", "uthreshold": "upper",
	"lthreshold": "lower", "retry": "fall", "connect_ip": "address", "connect_port": "port", "bindto": "source", "path": "request",
	"status_code": "status", "regex": "receive", "real_server": "real", "virtual_server": "virtual", "sni": "server_name", "host": "virtualhost",
}

// unknown reports a key that its table does not have.
func (r *reader) unknown(line int, where, name string, known []string) {
	hint := didYouMean(name, known)
	if o, ok := others[name]; ok && hint == "" {
		if slices.Contains(known, o) {
			hint = `that is "` + o + `" here`
		} else if in := home(o, where); in != "" {
			hint = `that is "` + o + `" in ` + in
		}
	}
	if in := home(name, where); in != "" {
		hint = "it is a key of " + in
	}
	if name == "real" {
		hint = "write [[virtual.real]], below its [[virtual]]"
	}
	if where != "" {
		where = " in " + where
	}
	r.problem(line, hint, "unknown key %s%s", quote(clip(name)), where)
}

// home is another table that has the key.
func home(name, but string) string {
	for _, t := range homes {
		if t.table != but && slices.Contains(t.keys, name) {
			return t.table
		}
	}
	return ""
}

var homes []struct {
	table string
	keys  []string
}

func init() { // the rows' functions lead here
	add := func(table string, keys ...string) {
		homes = append(homes, struct {
			table string
			keys  []string
		}{table, keys})
	}
	add("[check] or [virtual.check]", names(timingKeys)...)
	add("[virtual.check]", names(checkKeys)...)
	add("[[virtual]]", append(names(virtualKeys), "fallback")...)
	add("[[virtual.real]]", names(realKeys)...)
	add("[virtual.fullnat]", names(fullNATKeys)...)
	add("the file itself, before all tables", append(names(daemonKeys), names(policyKeys)...)...)
	add("[alert]", names(alertKeys)...)
	add("[sync]", names(syncKeys)...)
	add("[timeouts]", names(timeoutKeys)...)
	add("tunnel", names(tunnelKeys)...)
}
