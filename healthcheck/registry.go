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
	// whole types are told of the virtual service that the server is part of.
	whole bool
}

// look looks at one server once. All it says and hears goes through d; when
// ctx ends, d's connections end with it, and look must return.
type look func(ctx context.Context, d *Dialer) error

// kinds is the registry: a row for each type, a file for each protocol.
var kinds = map[string]kind{
	"connect":    {uses: "protocol", prepare: connect},
	"dns":        {uses: "request method receive protocol", prepare: dns},
	"external":   {uses: "command bare weighs confine", prepare: external, whole: true},
	"ftp":        {uses: "request receive login password tls", prepare: ftp, whole: true},
	"grpc":       {uses: "request virtualhost tls", prepare: grpcCheck},
	"http":       {uses: httpUses, prepare: httpCheck},
	"http2":      {uses: httpUses + " tls", prepare: http2Check},
	"http_proxy": {uses: httpUses + " tls", prepare: httpProxy},
	"https":      {uses: httpUses + " tls", prepare: httpsCheck},
	"imap":       {uses: "request receive login password tls", prepare: imap},
	"imaps":      {uses: "request receive login password tls", prepare: imaps},
	"ldap":       {uses: "request receive login password tls", prepare: ldap},
	"ldaps":      {uses: "request receive login password tls", prepare: ldaps},
	"mysql":      {uses: "request receive login password database tls", prepare: mysql},
	"nntp":       {uses: "request receive login password tls", prepare: nntp},
	"off":        {uses: "", prepare: off},
	"on":         {uses: "", prepare: on},
	"oracle":     {uses: "database tls", prepare: oracle},
	"pgsql":      {uses: "request receive login password database tls", prepare: pgsql},
	"ping":       {uses: "", prepare: ping},
	"pop3":       {uses: "receive login password tls", prepare: pop3},
	"pop3s":      {uses: "receive login password tls", prepare: pop3s},
	"radius":     {uses: "login password secret signed", prepare: radius},
	"redis":      {uses: "request receive login password database tls", prepare: redis},
	"sip":        {uses: "request receive login protocol tls", prepare: sip},
	"smtp":       {uses: "receive login password tls", prepare: smtp},
	"submission": {uses: "receive login password tls", prepare: smtp},
	"tcp":        {uses: "request receive tls", prepare: tcp},
	"udp":        {uses: "request receive", prepare: udp},
}

const httpUses = "request receive status virtualhost method login password follow"

// Types lists the types of checks there are, in order.
func Types() []string { return slices.Sorted(maps.Keys(kinds)) }
