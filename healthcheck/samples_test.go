package healthcheck

// sample is a valid check of a type, for tests that are made of every type. The
// checks expect what a hostile server does not give.
type sample struct {
	check Check
	// easy types are content with a server that does nothing: they only look
	// whether it is there.
	easy bool
	udp  bool
}

// samples has a row for each type of the registry; a test fails when one is
// missing.
var samples = map[string][]sample{
	"connect": {{check: Check{}, easy: true}},
	"dns": {
		{check: Check{Request: "www.example.com", Receive: "192.0.2.1"}, udp: true},
		{check: Check{Request: "www.example.com", Receive: "192.0.2.1", Protocol: "tcp"}},
	},
	"external": {{check: Check{Command: []string{"true"}}, easy: true}},
	"ftp": {
		{check: Check{Request: "health", Receive: "^never$"}},
		{check: Check{TLS: TLS{Mode: "starttls", Insecure: true}}},
	},
	"grpc":  {{check: Check{}}, {check: Check{TLS: TLS{Mode: "on", Insecure: true}}}},
	"http":  {{check: Check{Receive: "^never$", Follow: 3}}},
	"http2": {{check: Check{Receive: "^never$"}}, {check: Check{Receive: "^never$", TLS: TLS{Mode: "off"}}}},
	"http_proxy": {
		{check: Check{Request: "http://example.com/", Receive: "^never$"}},
		{check: Check{Request: "https://example.com/", Receive: "^never$"}},
	},
	"https": {{check: Check{Receive: "^never$", Follow: 3, TLS: TLS{Insecure: true}}}},
	"imap": {
		{check: Check{Login: "me", Password: "secret", Receive: "^never$"}},
		{check: Check{Receive: "^never$", TLS: TLS{Mode: "starttls", Insecure: true}}},
	},
	"imaps": {{check: Check{Login: "me", Password: "secret", Receive: "^never$", TLS: TLS{Insecure: true}}}},
	"ldap": {
		{check: Check{Login: "cn=me", Password: "secret", Request: "dc=example", Receive: "^never$"}},
		{check: Check{TLS: TLS{Mode: "starttls", Insecure: true}}},
	},
	"ldaps": {{check: Check{TLS: TLS{Insecure: true}}}},
	"mysql": {
		{check: Check{Login: "me", Password: "secret", Database: "app", Receive: "^never$"}},
		{check: Check{Login: "me", Password: "secret", TLS: TLS{Mode: "starttls", Insecure: true}}},
	},
	"nntp": {
		{check: Check{Login: "me", Password: "secret", Request: "<1@example.com>", Receive: "^never$"}},
		{check: Check{TLS: TLS{Mode: "on", Insecure: true}, Request: "local.test"}},
	},
	"off":    {{check: Check{}}},
	"on":     {{check: Check{}, easy: true}},
	"ping":   {{check: Check{}, easy: true}},
	"oracle": {{check: Check{Database: "ORCL"}}, {check: Check{TLS: TLS{Mode: "on", Insecure: true}}}},
	"pgsql": {
		{check: Check{Login: "me", Password: "secret", Receive: "^never$"}},
		{check: Check{Login: "me", Password: "secret", TLS: TLS{Mode: "starttls", Insecure: true}}},
	},
	"pop3": {
		{check: Check{Receive: "^never$"}},
		{check: Check{Login: "me", Password: "secret", TLS: TLS{Mode: "starttls", Insecure: true}}},
	},
	"pop3s":  {{check: Check{Receive: "^never$", TLS: TLS{Insecure: true}}}},
	"radius": {{check: Check{Login: "me", Password: "secret", Secret: "shared"}, udp: true}},
	"redis": {
		{check: Check{}},
		{check: Check{Password: "secret", Request: "GET x", Receive: "^never$", TLS: TLS{Mode: "on", Insecure: true}}},
	},
	"sip": {
		{check: Check{}, udp: true},
		{check: Check{Protocol: "tcp"}},
		{check: Check{Protocol: "tcp", TLS: TLS{Mode: "on", Insecure: true}}},
	},
	"smtp":       {{check: Check{Receive: "^never$"}}, {check: Check{TLS: TLS{Mode: "starttls", Insecure: true}}}},
	"submission": {{check: Check{Login: "me", Password: "secret", TLS: TLS{Mode: "starttls", Insecure: true}}}},
	"tcp": {
		{check: Check{Request: "hello\r\n", Receive: "^never$"}},
		{check: Check{Request: "hello\r\n", Receive: "^never$", TLS: TLS{Mode: "on", Insecure: true}}},
	},
	"udp": {{check: Check{Request: "hello", Receive: "^never$"}, udp: true}},
}
