//go:build !race

package healthcheck

// raceDetector is true in a test that the race detector watches.
const raceDetector = false
