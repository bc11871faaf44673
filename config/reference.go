package config

// Table is a table of the file, for documentation.
type Table struct {
	Name  string // as it is written: "[check]"; empty: the file's own keys
	About string
	Keys  []Key
}

// Key is a key of a table.
type Key struct {
	Name    string
	Default string // as TOML; empty: there is none
	Doc     string // what it is for, in Markdown
}

// Reference is every table with every key, from the rows that read them.
func Reference() []Table {
	return []Table{
		{"", "The daemon. These keys stand before all tables.", doc(daemonKeys)},
		{"", "How servers come and go. A `[[virtual]]` may have its own.", doc(policyKeys)},
		{"[check]", "When checks are made. A check may have its own.", doc(timingKeys)},
		{"[alert]", "Who is told of what.", doc(alertKeys)},
		{"[timeouts]", "Timeouts of the kernel's connections, in whole seconds. What is not given is left as it is.", doc(timeoutKeys)},
		{"[sync]", "Synchronization of connections between directors.", doc(syncKeys)},
		{"[[virtual]]", "A service.", append(doc(virtualKeys), Key{"fallback", "[]",
			"Servers that are used while no real server is up, with weight 1: addresses, or tables with `address`, `forward` and `tunnel`. Without a port it is the service's."})},
		{"[virtual.fullnat]", "Full NAT of a service.", doc(fullNATKeys)},
		{"[virtual.check]", "A check, or several as `[[virtual.check]]`, which must all pass. Without any, TCP servers are connected to and others are pinged.", doc(checkKeys)},
		{"[[virtual.real]]", "A real server.", append(doc(realKeys), Key{"check", "{}",
			"Keys of the service's check that are different for this server; an array of tables when the service has several checks. Another `type` starts anew from `[check]`."})},
		{"tunnel", "The table `tunnel` of a real server.", doc(tunnelKeys)},
	}
}

func doc[T any](keys []key[T]) (out []Key) {
	for _, k := range keys {
		out = append(out, Key{k.name, k.zero, k.doc})
	}
	return out
}
