# bash completion for goipvs, and for it under the name of ipvsadm
# Made by go run ./internal/docgen (make docs): do not edit.

# _goipvs_offer WORDS: those that begin with what is typed
_goipvs_offer()
{
	mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}

# _goipvs_list WORDS: the same, after a comma too
_goipvs_list()
{
	local before=
	if [[ $cur == *,* ]]; then
		before=${cur%,*},
	fi
	mapfile -t COMPREPLY < <(compgen -P "$before" -W "$1" -- "${cur##*,}")
}

_goipvs_interface()
{
	local interfaces=(/sys/class/net/*)
	_goipvs_offer "${interfaces[*]##*/}"
}

# _goipvs_said WORDS: one of them is typed already, as an argument of the verb
_goipvs_said()
{
	local word
	for word in "${COMP_WORDS[@]:2:COMP_CWORD-2}"; do
		if [[ " $1 " == *" $word "* ]]; then
			return 0
		fi
	done
	return 1
}

_goipvs()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} word
	COMPREPLY=()
	# to bash, --scheduler=wlc is three words
	if [[ $cur == = ]]; then
		cur=
	elif [[ $prev == = && $COMP_CWORD -gt 2 ]]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}
	fi
	if [[ ${1##*/} != ipvsadm ]]; then
		if [[ $COMP_CWORD -eq 1 ]]; then
			_goipvs_offer 'apply diff realserver vip tune status explain drain maintain weight enable reload top doctor import help -A --add-service -E --edit-service -D --delete-service -a --add-server -e --edit-server -d --delete-server -P --add-laddr -Q --del-laddr -G --get-laddr -L --list -S --save -R --restore -C --clear -Z --zero --set --start-daemon --stop-daemon -h --help -v --version'
			return
		fi
		case ${COMP_WORDS[1]} in
		apply)
			case $prev in
			esac
			if [[ $cur == -?* ]]; then
				_goipvs_offer '--prune --detailed-exitcode --json --help'
			else
				compopt -o default
			fi
			return ;;
		diff)
			case $prev in
			esac
			if [[ $cur == -?* ]]; then
				_goipvs_offer '--prune --detailed-exitcode --json --help'
			else
				compopt -o default
			fi
			return ;;
		realserver)
			case $prev in
			--mode)
				_goipvs_offer 'dr tun'
				return ;;
			--dev)
				_goipvs_interface
				return ;;
			--tunnel)
				_goipvs_offer 'ipip gre gue:'
				return ;;
			--outer)
				_goipvs_offer '4 6'
				return ;;
			esac
			if [[ $cur == -?* ]]; then
				_goipvs_offer '--mode --dev --tunnel --outer --check --watch --json --help'
			elif ! _goipvs_said 'add del show check'; then
				_goipvs_offer 'add del show check'
			else
				_goipvs_offer '--mode --dev --tunnel --outer --check --watch --json --help'
			fi
			return ;;
		vip)
			case $prev in
			--dev)
				_goipvs_interface
				return ;;
			esac
			if [[ $cur == -?* ]]; then
				_goipvs_offer '--dev --force --check --json --help'
			elif ! _goipvs_said 'add del'; then
				_goipvs_offer 'add del'
			else
				_goipvs_offer '--dev --force --check --json --help'
			fi
			return ;;
		tune)
			case $prev in
			esac
			if [[ $cur == -?* ]]; then
				_goipvs_offer '--check --json --help'
			elif ! _goipvs_said 'show set undo'; then
				_goipvs_offer 'show set undo'
			else
				_goipvs_offer 'ip_forward net.ipv6.conf.all.forwarding conntrack expire_nodest_conn expire_quiescent_template conn_reuse_mode sloppy_tcp sloppy_sctp pmtu_disc snat_reroute schedule_icmp nat_icmp_send cache_bypass ignore_tunneled backup_only sync_threshold sync_refresh_period sync_retries sync_ports sync_persist_mode sync_qlen_max sync_sock_size sync_version drop_entry drop_packet secure_tcp amemthresh am_droprate run_estimation est_cpulist est_nice conn_lfactor svc_lfactor debug_level'
			fi
			return ;;
		status)
			case $prev in
			--socket)
				compopt -o default
				return ;;
			esac
			_goipvs_offer '--problems --watch --json --socket --help'
			return ;;
		explain)
			case $prev in
			--service)
				return ;;
			--socket)
				compopt -o default
				return ;;
			esac
			_goipvs_offer '--service --json --socket --help'
			return ;;
		drain)
			case $prev in
			--service)
				return ;;
			--reason)
				return ;;
			--timeout)
				return ;;
			--socket)
				compopt -o default
				return ;;
			esac
			_goipvs_offer '--service --reason --timeout --json --socket --help'
			return ;;
		maintain)
			case $prev in
			--service)
				return ;;
			--reason)
				return ;;
			--for)
				return ;;
			--socket)
				compopt -o default
				return ;;
			esac
			_goipvs_offer '--service --reason --for --json --socket --help'
			return ;;
		weight)
			case $prev in
			--service)
				return ;;
			--reason)
				return ;;
			--for)
				return ;;
			--socket)
				compopt -o default
				return ;;
			esac
			_goipvs_offer '--service --reason --for --json --socket --help'
			return ;;
		enable)
			case $prev in
			--service)
				return ;;
			--socket)
				compopt -o default
				return ;;
			esac
			_goipvs_offer '--service --json --socket --help'
			return ;;
		reload)
			case $prev in
			--socket)
				compopt -o default
				return ;;
			esac
			_goipvs_offer '--force --json --socket --help'
			return ;;
		top)
			case $prev in
			--sort)
				_goipvs_offer 'connections active bytes weight'
				return ;;
			--lines)
				return ;;
			--socket)
				compopt -o default
				return ;;
			esac
			_goipvs_offer '--sort --lines --once --socket --help'
			return ;;
		doctor)
			case $prev in
			--service)
				return ;;
			--method)
				_goipvs_offer 'nat dr tun gre gue:'
				return ;;
			--director)
				return ;;
			--scheduler)
				_goipvs_offer 'rr wrr lc wlc sh dh sed nq lblc lblcr fo ovf mh twos'
				return ;;
			esac
			_goipvs_offer '--service --method --director --scheduler --strict --json --help'
			return ;;
		import)
			case $prev in
			--config-id)
				return ;;
			esac
			if [[ $cur == -?* ]]; then
				_goipvs_offer '--config-id --json --help'
			elif ! _goipvs_said 'ldirectord keepalived'; then
				_goipvs_offer 'ldirectord keepalived'
			else
				compopt -o default
			fi
			return ;;
		help)
			_goipvs_offer 'schedulers forwarding fullnat persistence restore apply diff realserver vip tune status explain drain maintain weight enable reload top doctor import help'
			return ;;
		esac
	fi
	case $prev in
	--start-daemon)
		_goipvs_offer 'master backup'
		return ;;
	--stop-daemon)
		_goipvs_offer 'master backup'
		return ;;
	-s|--scheduler)
		_goipvs_offer 'rr wrr lc wlc sh mh dh sed nq lblc lblcr fo ovf'
		return ;;
	--pe)
		_goipvs_offer 'sip'
		return ;;
	-b|--sched-flags)
		_goipvs_list 'sh-fallback sh-port mh-fallback mh-port flag-1 flag-2 flag-3'
		return ;;
	--tun-type)
		_goipvs_offer 'ipip gue gre'
		return ;;
	--proxy-protocol)
		_goipvs_offer 'v1 v2 v2-every disable'
		return ;;
	--plane)
		_goipvs_offer 'auto kernel userspace'
		return ;;
	-j|--synproxy)
		_goipvs_offer 'enable disable'
		return ;;
	--mcast-interface)
		_goipvs_interface
		return ;;
	-t|--tcp-service|-u|--udp-service|--sctp-service|-f|--fwmark-service|-M|--netmask|-r|--real-server|-w|--weight|-x|--u-threshold|-y|--l-threshold|--tun-port|-z|--laddr|--syncid|--sync-maxlen|--mcast-group|--mcast-port|--mcast-ttl)
		return ;;
	esac
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		case $word in
		--add-service|-A*)
			_goipvs_offer '-t --tcp-service -u --udp-service --sctp-service -f --fwmark-service -6 --ipv6 -s --scheduler -p --persistent -M --netmask --pe -o --ops -b --sched-flags -b --fullnat --proxy-protocol --plane -j --synproxy --ensure'
			return ;;
		--edit-service|-E*)
			_goipvs_offer '-t --tcp-service -u --udp-service --sctp-service -f --fwmark-service -6 --ipv6 -s --scheduler -p --persistent -M --netmask --pe -o --ops -b --sched-flags -b --fullnat --proxy-protocol --plane -j --synproxy --ensure'
			return ;;
		--delete-service|-D*)
			_goipvs_offer '-t --tcp-service -u --udp-service --sctp-service -f --fwmark-service -6 --ipv6 -b --fullnat --ensure'
			return ;;
		--add-server|-a*)
			_goipvs_offer '-t --tcp-service -u --udp-service --sctp-service -f --fwmark-service -6 --ipv6 -r --real-server -g --gatewaying -i --ipip -m --masquerading -b --fullnat -w --weight -x --u-threshold -y --l-threshold --tun-type --tun-port --tun-nocsum --tun-csum --tun-remcsum --ensure'
			return ;;
		--edit-server|-e*)
			_goipvs_offer '-t --tcp-service -u --udp-service --sctp-service -f --fwmark-service -6 --ipv6 -r --real-server -g --gatewaying -i --ipip -m --masquerading -b --fullnat -w --weight -x --u-threshold -y --l-threshold --tun-type --tun-port --tun-nocsum --tun-csum --tun-remcsum --ensure'
			return ;;
		--delete-server|-d*)
			_goipvs_offer '-t --tcp-service -u --udp-service --sctp-service -f --fwmark-service -6 --ipv6 -r --real-server -b --fullnat --ensure'
			return ;;
		--add-laddr|-P*)
			_goipvs_offer '-t --tcp-service -u --udp-service --sctp-service -f --fwmark-service -6 --ipv6 -z --laddr --ensure'
			return ;;
		--del-laddr|-Q*)
			_goipvs_offer '-t --tcp-service -u --udp-service --sctp-service -f --fwmark-service -6 --ipv6 -z --laddr --ensure'
			return ;;
		--get-laddr|-G*)
			_goipvs_offer '-t --tcp-service -u --udp-service --sctp-service -f --fwmark-service -6 --ipv6 -n --numeric --json'
			return ;;
		--list|-L*|-l*)
			_goipvs_offer '-t --tcp-service -u --udp-service --sctp-service -f --fwmark-service -6 --ipv6 -n --numeric -c --connection --stats --rate --json --thresholds --persistent-conn --tun-info --timeout --daemon -X --exact --nosort'
			return ;;
		--save|-S*)
			_goipvs_offer '-n --numeric'
			return ;;
		--restore|-R*)
			_goipvs_offer ''
			return ;;
		--clear|-C*)
			_goipvs_offer ''
			return ;;
		--zero|-Z*)
			_goipvs_offer '-t --tcp-service -u --udp-service --sctp-service -f --fwmark-service -6 --ipv6'
			return ;;
		--set)
			_goipvs_offer ''
			return ;;
		--start-daemon)
			_goipvs_offer '--mcast-interface --syncid --sync-maxlen --mcast-group --mcast-port --mcast-ttl'
			return ;;
		--stop-daemon)
			_goipvs_offer '--syncid'
			return ;;
		--help|-h*)
			_goipvs_offer ''
			return ;;
		--version|-v*)
			_goipvs_offer ''
			return ;;
		esac
	done
	_goipvs_offer '-A --add-service -E --edit-service -D --delete-service -a --add-server -e --edit-server -d --delete-server -P --add-laddr -Q --del-laddr -G --get-laddr -L --list -S --save -R --restore -C --clear -Z --zero --set --start-daemon --stop-daemon -h --help -v --version'
}
complete -F _goipvs goipvs ipvsadm
complete -W -n ipvsadm-save
