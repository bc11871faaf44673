package director

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/goipvs/goipvs/ipvs/ipvstest"
)

// TestExplainNothing: who asks for a service hears not only of real servers.
func TestExplainNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, ipvstest.New(ipvstest.Options{}), setupOf(testService()), Persistent{})
		for _, c := range []struct{ subject, service, want string }{
			{"shop", "", "no such real server, nor such a service: shop"},
			{"10.0.0.77", "web", "no such real server: 10.0.0.77 of web"},
		} {
			if _, err := f.d.Explain(c.subject, c.service, nil); !errors.Is(err, ErrNoServer) || err.Error() != c.want {
				t.Errorf("%s of %q: %v", c.subject, c.service, err)
			}
		}
	})
}
