package doctor

func (g *gatherer) firewall()   {}
func (g *gatherer) marks()      {}
func (g *gatherer) lips() error { return nil }
func (g *gatherer) probes()     {}
