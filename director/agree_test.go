package director

import (
	"strings"
	"testing"

	"github.com/goipvs/goipvs/config"
)

// TestFileAndChecksAgree: what a check refuses the file has refused before, with
// its line, and so has an import, which makes files that load.
func TestFileAndChecksAgree(t *testing.T) {
	needs := map[string]string{
		"http_proxy": "request = \"https://www.example.com/\"\n", "dns": "request = \"www.example.com\"\n", "mysql": "login = \"a\"\n", "pgsql": "login = \"a\"\n",
		"radius": "secret = \"s\"\n", "external": "command = [\"/bin/true\"]\n",
	}
	odd := map[string][]string{
		"request": {"/a b?c=d#e", "/100%", "x", "hex:00ff", "dc=x", "dc=a\\\\,b", "=x", "a,b", "Mäil", "a..b", "192.0.2.1", "2001:db8::1", "x:1", "http://x/", "http://", "ftp://x", "http://a@x/", "a\\r\\nb", "a\\u0000b",
			strings.Repeat("x", 64) + ".test", strings.Repeat("x.", 127) + "x"},
		"receive": {"ok", "hex:00xx", "md5:ff20ad2481f97b1754ef3e12ecd3a9cc", "("}, "status": {"200,201-204", "100-599", "99"}, "method": {"HEAD", "POST", "OPTIONS", "PUT", "get"},
		"virtualhost": {"a.example", "a.example:81", "[2001:db8::1]:81", "2001:db8::1", "*.a"}, "login": {"a b", "ä", "<a>", strings.Repeat("x", 254)},
		"password": {"a\\nb", strings.Repeat("x", 129)}, "tls": {"on", "off", "starttls"}, "server_name": {"a.example", "2001:db8::1"},
		"database": {"0", "x y", "a(b"}, "record": {"SRV", "PTR", "ANY", "AXFR"}, "protocol": {"tcp", "udp", "sctp"}, "secret": {""},
	}
	loaded := 0
	for _, spec := range config.CheckTypes() {
		for _, key := range spec.Keys {
			for _, value := range odd[key] {
				more := needs[spec.Name]
				if strings.HasPrefix(more, key+" ") {
					more = ""
				}
				switch {
				case key == "login" && strings.Contains(strings.Join(spec.Keys, " "), "password"):
					more = strings.ReplaceAll(more, "login = \"a\"\n", "") + "password = \"b\"\n"
				case key == "password" && !strings.Contains(more, "login"):
					more += "login = \"a\"\n"
				}
				c, err := config.Parse("odd.toml", []byte("[[virtual]]\naddress = \"192.0.2.10:80\"\nforward = \"nat\"\n[virtual.check]\ntype = \""+spec.Name+"\"\n"+
					more+key+" = \""+value+"\"\n[[virtual.real]]\naddress = \"10.0.0.1:8080\"\n"), config.Options{})
				if err != nil {
					continue
				}
				loaded++
				c, _ = c.Bind(nil)
				if _, err := Build(c, false); err != nil {
					t.Errorf("type %s, %s = %q: the file has it, and then: %v", spec.Name, key, value, err)
				}
			}
		}
	}
	if loaded < 200 {
		t.Errorf("only %d of them load", loaded)
	}
}
