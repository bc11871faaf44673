package main

// manDate is the day of the last change that readers would notice.
const manDate = "2026-11-22"

const manHead = `.\" %s
.TH GOIPVS 8 %d goipvs "System administration"
.nh
.SH NAME
goipvs, ipvsadm, ipvsadm\-save, ipvsadm\-restore \- the kernel's load balancer
.SH SYNOPSIS
.B goipvs
.I COMMAND
.RI [ OPTION ]...
.br
`

const manAbout = `.br
.B ipvsadm
.I COMMAND
.RI [ OPTION ]...
.br
.B ipvsadm\-save
.RB [ \-n ]
.br
.B ipvsadm\-restore <
.I FILE
.SH DESCRIPTION
IPVS, a part of the Linux kernel, offers virtual services: it forwards each
connection to one of the real servers of its service.
.B goipvs
sets services and real servers up, changes and lists them.
.PP
Its commands and options are those of
.BR ipvsadm ,
and more. Called
.B ipvsadm
it is that program. There are no verbs then.
.B ipvsadm\-save
is
.BR "goipvs \-S" .
.B ipvsadm\-restore
is described under
.BR RESTORE .
.PP
Letters may be joined
.RB ( \-Ln ),
values may follow their letter at once
.RB ( \-w5 )
or an equals sign
.RB ( \-\-weight=5 ).
The command comes first. The order of the rest has no meaning, but that
.B \-6
follows
.BR \-f ,
and
.B \-r
follows the service if its port is given by name.
`

const manEnd = `.SH EXIT STATUS
Of commands:
.TP
.B 0
Done.
.TP
.B 1
A list could not be made: there is no such service, above all. Also full NAT,
which is not in this version.
.TP
.B 2
The command line or a rule is wrong, the kernel has no IPVS, or the right to
use it is missing.
.TP
.B 255
The kernel refused a change, or an option does not exist.
.PP
Of verbs: 0 done, 1 failed: the kernel or goipvsd refused something, 2 the
command line or a rule is wrong. With
.B \-\-detailed\-exitcode
0 means that nothing was to be changed, 2 that something was, 1 all else.
.SH FILES
.TP
.I /proc/net/ip_vs_conn
The connections that
.B \-L \-c
lists.
.TP
.I /etc/services
Names of ports.
.SH NOTES
All commands but
.B \-\-help
and
.B \-\-version
need the capability CAP_NET_ADMIN and the kernel's module ip_vs, which the
kernel loads itself if it can. Wrong command lines are found without either.
.SH SEE ALSO
.BR ip (8),
.BR modprobe (8),
.BR nft (8),
.BR sysctl (8)
`
