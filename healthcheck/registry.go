package healthcheck

import (
	"context"
	"maps"
	"slices"
)

// A kind is a type of check: a row of the registry.
type kind struct {
	// uses are the fields of Check that the type reads, in lower case.
	uses string
	// prepare judges the check and compiles what it says, once for all the
	// servers that are checked alike. Its errors are the operator's mistakes.
	prepare func(c Check) (look, error)
}

// look looks at one server once. All it says and hears goes through d; when
// ctx ends, d's connections end with it, and look must return.
type look func(ctx context.Context, d *Dialer) error

// kinds is the registry: a row for each type, a file for each protocol.
var kinds = map[string]kind{
	"connect":    {"port", connect},
	"external":   {"command", external},
	"grpc":       {"port request virtualhost tls", grpcCheck},
	"http":       {httpUses, httpCheck},
	"http2":      {httpUses + " tls", http2Check},
	"http_proxy": {httpUses, httpProxy},
	"https":      {httpUses + " tls", httpsCheck},
	"off":        {"", off},
	"on":         {"", on},
	"ping":       {"", ping},
	"tcp":        {"port request receive tls", tcp},
	"udp":        {"port request receive", udp},
}

const httpUses = "port request receive status virtualhost method login password follow"

// Types lists the types of checks there are, in order.
func Types() []string { return slices.Sorted(maps.Keys(kinds)) }
