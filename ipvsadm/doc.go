// Package ipvsadm speaks ipvsadm's language: it parses command lines and rules,
// carries them out on a kernel, and prints listings and rules.
//
// There is one grammar. [Parse] takes the words of a command line; the lines of
// a rules file (-R) go through the same tables: options.go says which options
// exist, matrix.go which of them go together. Parsing fills values and touches
// nothing, but for names, which a resolver is asked for.
//
// [Runner] is the program: it parses first, so that bad usage needs neither root
// nor a kernel module, then dials the kernel and does what was asked. A rules
// file is read and checked as a whole before its first line is carried out.
//
// Where ipvsadm 1.31 guesses, loses or crashes, this package refuses or does
// what was meant: ambiguous numbers and addresses are errors, the order of
// options has no meaning, marks are unsigned, nothing is lost by saving.
package ipvsadm
