// Docgen writes the manual page and the completions of shells from the tables
// that the help is made of: ipvsadm.Manual, verbs.Verbs and verbs.Topics. Its
// test fails when the committed copies are not what it writes; make docs
// writes them anew.
package main
