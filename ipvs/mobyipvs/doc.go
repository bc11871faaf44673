// Package mobyipvs converts between package ipvs and github.com/moby/ipvs
// (v1.1.0), for programs that use that library and move to this one. It is a
// package of its own because that library, once used, runs modprobe.
//
// The values here mean to the kernel what they mean to moby/ipvs, which passes
// some of them through as they are. That makes for these repairs:
//
//   - A Netmask of an IPv4 service is in network byte order whatever the
//     machine, 255.255.255.0 therefore 0x00ffffff on most. For IPv6 it is a
//     prefix length, of which the kernel refuses moby's default, 0: it is taken
//     for the default, 128.
//   - Flags that moby/ipvs reads contain a bit of the kernel's own
//     (IP_VS_SVC_F_HASHED). It is taken out.
//   - A family that is not set is the address's.
//
// What moby/ipvs cannot write, or would write but lose when it reads it back,
// is refused with [ErrNotRepresentable] on the way to it: persistence engines,
// weights above 65535, tunnels other than plain IPIP, IPv6 real servers of IPv4
// services. On the way from it nobody can tell: it reads such weights modulo
// 65536, every tunnel as IPIP, every engine as none. Read with package ipvs.
package mobyipvs
