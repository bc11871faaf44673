// Package alert tells people and programs of events: by a command, a webhook and
// mail. Each way has a queue and a goroutine of its own, so that a mail server
// that does not answer delays neither checks nor the webhook; what a queue cannot
// hold is dropped and counted.
//
// While something lasts (a server down, a fallback in use) it is told again every
// Config.Repeat. Mails group what happens at about the same time.
package alert
