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
			if [[ $cur == -?* ]]; then
				_goipvs_offer '--prune --detailed-exitcode --json --help'
			else
				compopt -o default
			fi
			return ;;
		diff)
			if [[ $cur == -?* ]]; then
				_goipvs_offer '--prune --detailed-exitcode --json --help'
			else
				compopt -o default
			fi
			return ;;
		realserver)
			if [[ $cur == -?* ]]; then
				_goipvs_offer '--mode --dev --tunnel --outer --check --watch --json --help'
			else
				_goipvs_offer 'add del show check'
			fi
			return ;;
		vip)
			if [[ $cur == -?* ]]; then
				_goipvs_offer '--dev --force --check --json --help'
			else
				_goipvs_offer 'add del'
			fi
			return ;;
		tune)
			if [[ $cur == -?* ]]; then
				_goipvs_offer '--check --json --help'
			else
				_goipvs_offer 'show set undo'
			fi
			return ;;
		status)
			_goipvs_offer '--problems --watch --json --socket --help'
			return ;;
		explain)
			if [[ $cur == -?* ]]; then
				_goipvs_offer '--service --json --socket --help'
			else
				_goipvs_offer 'SERVICE SERVER'
			fi
			return ;;
		drain)
			_goipvs_offer '--service --reason --timeout --json --socket --help'
			return ;;
		maintain)
			_goipvs_offer '--service --reason --for --json --socket --help'
			return ;;
		weight)
			_goipvs_offer '--service --reason --for --json --socket --help'
			return ;;
		enable)
			_goipvs_offer '--service --json --socket --help'
			return ;;
		reload)
			_goipvs_offer '--force --json --socket --help'
			return ;;
		top)
			_goipvs_offer '--sort --lines --once --socket --help'
			return ;;
		doctor)
			_goipvs_offer '--service --method --director --scheduler --strict --json --help'
			return ;;
		import)
			if [[ $cur == -?* ]]; then
				_goipvs_offer '--config-id --json --help'
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
