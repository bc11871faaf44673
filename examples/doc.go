// Package examples has no code of its own, only the tests that hold the examples
// to what they promise: every rules file is applied to a real kernel, and the
// Ansible role by the real ansible-playbook.
package examples
