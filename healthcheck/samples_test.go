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
	"connect":  {{check: Check{}, easy: true}},
	"external": {{check: Check{Command: []string{"true"}}, easy: true}},
	"grpc":     {{check: Check{}}, {check: Check{TLS: TLS{Mode: "on", Insecure: true}}}},
	"http":     {{check: Check{Receive: "^never$", Follow: 3}}},
	"http2":    {{check: Check{Receive: "^never$"}}, {check: Check{Receive: "^never$", TLS: TLS{Mode: "off"}}}},
	"http_proxy": {
		{check: Check{Request: "http://example.com/", Receive: "^never$"}},
		{check: Check{Request: "https://example.com/", Receive: "^never$"}},
	},
	"https": {{check: Check{Receive: "^never$", Follow: 3, TLS: TLS{Insecure: true}}}},
	"off":   {{check: Check{}}},
	"on":    {{check: Check{}, easy: true}},
	"ping":  {{check: Check{}, easy: true}},
	"tcp": {
		{check: Check{Request: "hello\r\n", Receive: "^never$"}},
		{check: Check{Request: "hello\r\n", Receive: "^never$", TLS: TLS{Mode: "on", Insecure: true}}},
	},
	"udp": {{check: Check{Request: "hello", Receive: "^never$"}, udp: true}},
}
