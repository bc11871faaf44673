package healthcheck

import (
	"fmt"
	"strings"
)

// oneLine refuses values that would end a protocol's line early, and so say
// more than the check means to.
func oneLine(c Check) error {
	for _, v := range []struct{ name, value string }{
		{"login", c.Login}, {"password", c.Password}, {"request", c.Request}, {"database", c.Database},
	} {
		if strings.ContainsAny(v.value, "\r\n\x00") {
			return fmt.Errorf("%s: line breaks and zero bytes are not possible here", v.name)
		}
	}
	return nil
}

// bothOrNone refuses half a login.
func bothOrNone(c Check) error {
	switch {
	case c.Login == "" && c.Password != "":
		return fmt.Errorf("a password without a login")
	case c.Login != "" && c.Password == "":
		return fmt.Errorf("a login without a password")
	}
	return oneLine(c)
}
