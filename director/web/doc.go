// Package web is the daemon's read-only HTTP listener: metrics for Prometheus at
// /metrics, the status as JSON at /status.json, and a page for people at /.
//
// Everything is made from one picture of the daemon's state that is at most a
// second old, so however many ask, the daemon is asked once a second. Nothing
// can be changed by way of it, and only GET and HEAD are answered.
package web
