#!/bin/sh
# Judges the manual page and the completions by the programs that read them.
# Those that are not installed are unpacked from Debian's packages for the while.
set -eu
cd "$(dirname "$0")/../.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

missing=
command -v mandoc >/dev/null || missing="$missing mandoc"
command -v zsh >/dev/null || missing="$missing zsh"
command -v fish >/dev/null || missing="$missing fish libpcre2-32-0"
if [ -n "$missing" ]; then
	(cd "$tmp" && apt-get -q -o APT::Sandbox::User= download $missing)
	for deb in "$tmp"/*.deb; do dpkg -x "$deb" "$tmp"; done
	PATH=$PATH:$tmp/bin:$tmp/usr/bin
	LD_LIBRARY_PATH=$(echo "$tmp"/usr/lib/*-linux-gnu)
	export LD_LIBRARY_PATH
fi
set -x
mandoc -T lint -W warning docs/man/goipvs.8
mandoc -T lint -W warning docs/man/goipvsd.8
mandoc -T lint -W warning docs/man/goipvs.toml.5
bash -n contrib/completions/goipvs.bash
zsh -n contrib/completions/_goipvs
HOME=$tmp fish --no-config -n contrib/completions/goipvs.fish
