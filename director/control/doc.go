// Package control is how programs talk to goipvsd: a Unix stream socket, one
// JSON object per line each way.
//
//	{"id":1,"verb":"status"}
//	{"id":1,"result":{...}}
//
//	{"id":2,"verb":"drain","args":{"server":"192.0.2.21:80","reason":"new disk"}}
//	{"id":2,"error":{"code":"denied","message":"..."}}
//
// The id is the client's and comes back as it was. Requests of one connection
// are answered in order. The credentials of the peer's process decide who may
// change something: root and the daemon's own user. Who may connect at all the
// socket's file mode says.
//
// Client is for programs, Server for the daemon. docs/control.md is the
// interface in full. The package links neither checks nor metrics: the verbs of
// goipvs use it.
package control
