// Package tune knows the kernel knobs of a director: what each does, its usual
// values, and when to change it. It sets them, remembers what they were (package
// sysctl/record) and puts them back.
package tune
