package fullnat_test

import "golang.org/x/sys/unix"

func callNumber(r *unix.PtraceRegs) uint64 { return r.Orig_rax }

func callResult(r *unix.PtraceRegs) int64 { return int64(r.Rax) }
