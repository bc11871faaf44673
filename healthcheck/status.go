package healthcheck

import (
	"fmt"
	"strconv"
	"strings"
)

// statuses are the HTTP statuses that are taken for healthy.
type statuses []struct{ from, to int }

// newStatuses reads "200-299" or "200,204,301-302"; empty is 200-299.
func newStatuses(s string) (out statuses, err error) {
	for part := range strings.SplitSeq(or(s, "200-299"), ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		a, err1 := strconv.Atoi(from)
		b, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || a < 100 || b > 999 || a > b {
			return nil, fmt.Errorf(`status: %q is no status and no range of them, like "200-299"`, part)
		}
		out = append(out, struct{ from, to int }{a, b})
	}
	return out, nil
}

func (s statuses) has(code int) bool {
	for _, r := range s {
		if r.from <= code && code <= r.to {
			return true
		}
	}
	return false
}
