// Package archtest holds the project's architecture in one table: which package
// may import which. Its test fails when an arrow is added that is not in the
// table, so that the drawing in docs/architecture.md stays true.
package archtest
