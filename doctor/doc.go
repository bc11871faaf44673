// Package doctor says what is wrong with a director or a real server, as far as
// that one host can see it, and how to mend it.
//
// [Gather] takes a snapshot of the host, [Facts]; [Diagnose] judges it by a table
// of rules, each a small pure function; [Run] does both. Nothing is changed on
// the host. What could not be seen, for want of rights, of the module, or
// because another host would have to be asked, is in the report as unknown and
// is never guessed.
//
// The findings and their names are explained in docs/doctor.md, which also says
// how to add a rule.
package doctor
