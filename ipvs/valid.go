package ipvs

// Check tells why no kernel could be asked to make the change: it would misread
// or cut what is in it, or does not know it. [Client] refuses such a change
// with the same error. Whether the kernel at hand accepts it only that can say.
func (c Change) Check() error { return c.check() }

// Check tells why no kernel could be asked about the service.
func (k ServiceKey) Check() error { return k.check() }

// Check tells why no kernel could be asked to start the daemon.
func (d Daemon) Check() error { return d.check() }

// Check tells why no kernel could be asked to set the timeouts.
func (t Timeouts) Check() error { return t.check() }
