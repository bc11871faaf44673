package config

import (
	"fmt"
	"strings"
	"time"
)

// ParseDuration reads a length of time as the file writes it: Go's notation
// ("1m30s", "250ms") and also days ("14d").
func ParseDuration(s string) (time.Duration, error) {
	text, days := s, time.Duration(0)
	if n, rest, ok := strings.Cut(s, "d"); ok {
		var d int
		if _, err := fmt.Sscanf(n, "%d", &d); err != nil || d < 0 || d > maxDays || fmt.Sprint(d) != n {
			return 0, badDuration(s)
		}
		if days, text = time.Duration(d)*day, rest; rest == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, badDuration(s)
	}
	return days + d, nil
}

const (
	day     = 24 * time.Hour
	maxDays = 36500
)

func badDuration(s string) error {
	hint := `a time has a unit: "500ms", "5s", "1m30s", "2h", "14d"`
	if strings.Trim(s, "0123456789") == "" && s != "" {
		hint = `did you mean "` + s + `s"? A time has a unit`
	}
	return hinted{fmt.Errorf("bad time %s", quote(clip(s))), hint}
}

// FormatDuration is the shortest text that ParseDuration reads as d.
func FormatDuration(d time.Duration) string {
	switch {
	case d == 0:
		return "0s"
	case d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
