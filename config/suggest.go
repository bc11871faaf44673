package config

import (
	"errors"
	"strings"
)

// hinted is an error with what may help against it.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

func hintOf(err error) string {
	var h hinted
	if errors.As(err, &h) {
		return h.hint
	}
	return ""
}

// didYouMean is a hint that names the word that is most like s, or is empty.
func didYouMean(s string, known []string) string {
	if best := nearest(s, known); best != "" {
		return `did you mean "` + best + `"?`
	}
	return ""
}

// nearest is the word that takes the fewest changes to become s, if they are
// few for its length. Large and small letters are no change.
func nearest(s string, known []string) (best string) {
	least := min(1+len(s)/3, 3)
	for _, k := range known {
		if d := distance(strings.ToLower(s), strings.ToLower(k)); d <= least && k != s && d < len(k) {
			best, least = k, d-1
		}
	}
	return best
}

// distance is how many letters must be added, removed, replaced or swapped with
// their neighbour to make b of a. Long words count as far.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
