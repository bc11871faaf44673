//go:build !goipvs_split

package main

import (
	"github.com/goipvs/goipvs/ipvsadm"
	"github.com/goipvs/goipvs/ipvsadm/dns"
)

// hostNames: a plain build asks DNS itself.
func hostNames() ipvsadm.HostNames { return dns.System{} }
