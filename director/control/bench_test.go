package control

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// BenchmarkAnswer is what a listing of 1,000 services of full NAT with ten servers
// each costs between its making and the socket.
func BenchmarkAnswer(b *testing.B) {
	server := `{"address":"10.9.3.1:80","method":"fullnat","weight":1,"active_connections":0,"inactive_connections":0,"upper_threshold":0}`
	service := `{"service":"tcp 192.0.2.10:80","scheduler":"rr","destinations":[` + strings.TrimSuffix(strings.Repeat(server+",", 10), ",") + `]}`
	listing := json.RawMessage(`{"services":[` + strings.TrimSuffix(strings.Repeat(service+",", 1000), ",") + `]}`)
	b.SetBytes(int64(len(listing)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := respond(json.RawMessage("1"), func() (any, error) { return listing, nil }).line(); err != nil {
			b.Fatal(err)
		}
	}
}

// TestRawResults: results that are JSON already come as they were made, and make
// one line with all that an answer may have.
func TestRawResults(t *testing.T) {
	raw := json.RawMessage(`{"a": [1,2],"b":"<é>"}`)
	for _, test := range []struct {
		id     string
		result any
		err    error
		want   string
	}{
		{"7", raw, nil, `{"id":7,"result":{"a": [1,2],"b":"<é>"}}`},
		{"", raw, nil, `{"result":{"a": [1,2],"b":"<é>"}}`},
		{`"x"`, struct{}{}, nil, `{"id":"x","result":{}}`},
		{"", nil, nil, `{"result":null}`},
		{"7", nil, errors.New("no"), `{"id":7,"error":{"code":"failed","message":"no"}}`},
		{"7", func() {}, nil, `{"id":7,"error":{"code":"failed","message":"json: unsupported type: func()"}}`},
	} {
		line, err := respond(json.RawMessage(test.id), func() (any, error) { return test.result, test.err }).line()
		if err != nil || string(line) != test.want+"\n" {
			t.Errorf("%s%v, want %s", line, err, test.want)
		}
	}
}
