# SPDX-License-Identifier: Apache-2.0
#
# Shared by the end-to-end stories and the demo; sourced, not run. Everything
# that a story makes lies under $WORK, in the netns $NETNS, or in podvm's state
# directory $ROOT; story_end removes it.
# shellcheck shell=sh

TOP=${TOP:-$(cd "$(dirname "$0")/../.." && pwd -P)}
VARIANT=${VARIANT:-release}
BIN=$TOP/build/$VARIANT
CNI_BIN=${CNI_BIN:-/usr/lib/cni}
NETNS=${NETNS:-podvm-test}
PATH=$BIN:$PATH
export PATH

podvm() { "$BIN/podvm" --root "$ROOT" "$@"; }

# ---- TAP ----------------------------------------------------------------------
tap_n=0
tap_failed=0

plan() { echo "1..$1"; tap_plan=$1; }

# ok DESCRIPTION COMMAND... - one point: the command's exit status decides
ok() {
	tap_what=$1
	shift
	tap_n=$((tap_n + 1))
	if "$@" > "$WORK/tap.out" 2>&1; then
		echo "ok $tap_n - $tap_what"
	else
		tap_failed=$((tap_failed + 1))
		echo "not ok $tap_n - $tap_what"
		sed 's/^/# /' "$WORK/tap.out"
	fi
}

tap_end() {
	if [ "$tap_n" != "$tap_plan" ]; then
		echo "# planned $tap_plan points, ran $tap_n"
		tap_failed=$((tap_failed + 1))
	fi
	[ "$tap_failed" = 0 ]
}

# tap_done - as tap_end, for a test that counts its points as it goes
tap_done() {
	echo "1..$tap_n"
	[ "$tap_n" -gt 0 ] && [ "$tap_failed" = 0 ]
}

# is GOT WANT - compares, and shows the difference
is() {
	[ "$1" = "$2" ] && return
	printf 'got:  %s\nwant: %s\n' "$1" "$2"
	return 1
}

# exits STATUS COMMAND... - the command ends with this status
exits() {
	want_status=$1
	shift
	got_status=0
	"$@" || got_status=$?
	is "exit status $got_status" "exit status $want_status"
}

# wait_for SECONDS COMMAND... - until it succeeds
wait_for() {
	tries=$(($1 * 10))
	shift
	until "$@" > /dev/null 2>&1; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || { "$@"; return; }
		sleep 0.1
	done
}

# milliseconds of the clock
ms() { echo $(($(date +%s%N) / 1000000)); }

# ---- a place to work -------------------------------------------------------------
story_begin() {
	WORK=$(mktemp -d /tmp/podvm-story.XXXXXX)
	ROOT=$WORK/state
	mkdir "$WORK/disk"
	mount -t tmpfs -o size=2g podvm-story "$WORK/disk"
	# Any story works with pods from templates, too, where it has no settings of its own.
	if [ -n "${TEMPLATES:-}" ]; then
		echo '{ "templates": true }' > "$WORK/templates.json"
		export PODVM_CONFIG="$WORK/templates.json"
	fi
	trap story_end EXIT
	trap 'exit 1' INT TERM
}

story_end() {
	status=$?
	trap - EXIT
	for c in $(podvm list -q 2> /dev/null); do
		podvm delete --force "$c" || :
	done
	for m in "$WORK"/disk/*/rootfs; do
		umount "$m" 2> /dev/null || :
	done
	net_down 2> /dev/null || :
	umount "$WORK/disk"
	rm -rf "$WORK"
	exit "$status"
}

# ---- images: three layers and an upper one --------------------------------------
# base: busybox. middle: files to be deleted and replaced. top: a whiteout of
# /gone, an opaque /opt/tool, a changed /etc/motd.
make_layers() {
	l=$WORK/disk/layers
	mkdir -p "$l/base" "$l/middle" "$l/top"
	(
		cd "$l/base"
		mkdir -p bin etc proc sys dev tmp run root srv var opt/tool home
		chmod 1777 tmp
		cp /bin/busybox bin/busybox
		chroot . /bin/busybox --install -s /bin
		echo 'root:x:0:0:root:/root:/bin/sh' > etc/passwd
		echo 'user:x:1000:1000:user:/home:/bin/sh' >> etc/passwd
		echo 'root:x:0:' > etc/group
		echo 'base' > etc/motd
		echo '127.0.0.1 localhost' > etc/hosts
		echo '::1 localhost' >> etc/hosts
	)
	(
		cd "$l/middle"
		mkdir -p opt/tool etc
		echo 'a file that the top layer deletes' > gone
		echo 'hidden by an opaque directory' > opt/tool/old
		echo 'middle' > etc/motd
		echo 'from the middle layer' > kept
	)
	(
		cd "$l/top"
		mkdir -p opt/tool etc
		mknod gone c 0 0
		setfattr_opaque opt/tool
		echo 'visible' > opt/tool/new
		echo 'top' > etc/motd
	)
}

# Without the attr package: python3 and perl may be missing on a bare machine,
# and overlayfs itself makes opaque directories best.
setfattr_opaque() {
	o=$WORK/disk/opaque
	mkdir -p "$o/lower/$1" "$o/upper" "$o/work" "$o/merged"
	mount -t overlay overlay \
		-o "lowerdir=$o/lower,upperdir=$o/upper,workdir=$o/work" "$o/merged"
	rmdir "$o/merged/$1"
	mkdir "$o/merged/$1"
	umount "$o/merged"
	rmdir "$1"
	cp -a "$o/upper/$1" "$1"
	rm -rf "$o"
}

# What engines give a container that asks for nothing.
ENGINE_CAPS='["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
	"CAP_MKNOD", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID",
	"CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT"]'

# mount_rootfs DIR - the overlay of a bundle, as engines mount it for each start
mount_rootfs() {
	l=$WORK/disk/layers
	mount -t overlay overlay \
		-o "lowerdir=$l/top:$l/middle:$l/base,upperdir=$1/upper,workdir=$1/work" \
		"$1/rootfs"
}

# bind DESTINATION SOURCE OPTION... - a jq filter that adds a mount
bind() {
	d=$1
	s=$2
	shift 2
	jq -nc --arg d "$d" --arg s "$s" \
		'{destination: $d, type: "bind", source: $s, options: $ARGS.positional}' \
		--args -- "$@" | sed 's/.*/.mounts += [&]/'
}

# make_bundle NAME JQ-FILTER [ARG...] - a bundle with an overlay of its own; the
# process is what the filter makes of it, $args in it are the arguments
make_bundle() {
	b=$WORK/disk/$1
	mkdir -p "$b/rootfs" "$b/upper" "$b/work"
	mount_rootfs "$b"
	bundle_config "$@"
}

# bundle_config NAME JQ-FILTER [ARG...] - its config.json, for a rootfs that is there
bundle_config() {
	b=$WORK/disk/$1
	filter=$2
	shift 2
	# shellcheck disable=SC2016 # jq's variables
	podvm spec | jq --arg netns "/run/netns/$NETNS" --argjson caps "$ENGINE_CAPS" "
		.process.terminal = false
		| .root.readonly = false
		| (.process.capabilities | .bounding, .effective, .permitted) = \$caps
		| .process.args = \$ARGS.positional
		| .annotations = (.annotations // {})
		| $filter" --args -- "$@" > "$b/config.json"
	BUNDLE=$b
}

# jq filters: into the netns that CNI made; the roles of a pod's containers
# shellcheck disable=SC2034,SC2016
{
IN_NETNS='(.linux.namespaces[] | select(.type == "network")).path = $netns'
SANDBOX='.annotations["io.kubernetes.cri-o.ContainerType"] = "sandbox"
	| .annotations["io.kubernetes.cri-o.SandboxID"] = "pod1"'
MEMBER='.annotations["io.kubernetes.cri-o.ContainerType"] = "container"
	| .annotations["io.kubernetes.cri-o.SandboxID"] = "pod1"
	| (.linux.namespaces[] | select(.type == "ipc" or .type == "uts")).path = "/proc/1/ns/x"'
}

# ---- CNI: runs a conflist's chain as an engine does ---------------------------
# cni ADD|DEL|CHECK CONFLIST - prints the last result; environment NETNS, and for more
# than one pod or interface CNI_ID and CNI_IF
cni_plugin() {
	case $1 in
	podvm-*) echo "$BIN/$1" ;;
	*) echo "$CNI_BIN/$1" ;;
	esac
}

cni() {
	list=$2
	name=$(jq -r .name "$list")
	version=$(jq -r .cniVersion "$list")
	n=$(jq '.plugins | length' "$list")
	result=$WORK/cni${CNI_ID:+.$CNI_ID.$CNI_IF.$name}.result
	order=$(seq 0 $((n - 1)))
	[ "$1" = ADD ] || order=$(seq $((n - 1)) -1 0)
	prev=null
	[ "$1" = ADD ] || prev=$(cat "$result" 2> /dev/null || echo null)
	for i in $order; do
		conf=$(jq -c --arg n "$name" --arg v "$version" --argjson p "$prev" --arg mac "${POD_MAC:-}" \
			".plugins[$i] + {name: \$n, cniVersion: \$v} +
			 (if \$p then {prevResult: \$p} else {} end)
			 | if .capabilities.portMappings
			   then .runtimeConfig.portMappings = ${PORTMAP:-[]} else . end
			 | if .capabilities.mac and \$mac != \"\"
			   then .runtimeConfig.mac = \$mac else . end" "$list")
		out=$(printf '%s' "$conf" | CNI_COMMAND=$1 CNI_CONTAINERID=${CNI_ID:-podvm-story} \
			CNI_NETNS=/run/netns/$NETNS CNI_IFNAME=${CNI_IF:-eth0} CNI_PATH=$CNI_BIN:$BIN \
			"$(cni_plugin "$(printf '%s' "$conf" | jq -r .type)")") ||
			{ printf '%s\n' "$out" >&2; return 1; }
		[ "$1" != ADD ] || prev=$out
	done
	if [ "$1" = ADD ]; then
		printf '%s\n' "$prev" | tee "$result"
	else
		rm -f "$result"
	fi
}

CONFLIST=$TOP/cni-examples/10-podvm-bridge.conflist

net_up() {
	ip netns add "$NETNS"
	ip -n "$NETNS" link set lo up
	cni ADD "$CONFLIST" > "$WORK/cni.log"
	IP4=$(jq -r '.ips[].address | select(contains(":") | not) | sub("/.*"; "")' "$WORK/cni.result")
	IP6=$(jq -r '.ips[].address | select(contains(":")) | sub("/.*"; "")' "$WORK/cni.result")
}

net_down() {
	[ -e "/run/netns/$NETNS" ] || return 0
	[ ! -e "$WORK/cni.result" ] || cni DEL "$CONFLIST"
	ip netns del "$NETNS"
}

# ---- what is on the machine, for comparison before and after --------------------
# Kernel threads and our own shells come and go; podvm's processes must not stay.
podvm_processes() {
	# shellcheck disable=SC2012 # one process for all of them
	ls -l /proc/[0-9]*/exe 2> /dev/null | sed -n 's|.*-> \(.*/podvm[^/]*\)$|\1|p'
}

snapshot() {
	echo '== processes'
	podvm_processes
	echo '== mounts'
	cut -d' ' -f5,9- /proc/self/mountinfo | sort
	echo '== links and addresses'
	ip -br addr | sed 's/@.*//' | sort
	[ ! -e "/run/netns/$NETNS" ] || {
		ip -n "$NETNS" -d link
		ip -n "$NETNS" addr
		ip -n "$NETNS" route
	} | sed 's/valid_lft.*//'
	echo '== qdiscs and filters'
	[ ! -e "/run/netns/$NETNS" ] || {
		tc -n "$NETNS" qdisc
		for link in $(ip -n "$NETNS" -br link | sed 's/[@ ].*//'); do
			tc -n "$NETNS" filter show dev "$link" ingress 2> /dev/null || :
		done
	}
	echo '== cgroups'
	find /sys/fs/cgroup -type d | sort
	echo '== files'
	find "$ROOT" 2> /dev/null | grep -v -e '/containers$' -e '/pods$' -e "^$ROOT\$" \
		${TEMPLATES:+-e "^$ROOT/templates"} | sort
	echo '== loop and device mapper'
	ls /dev/dm-* 2> /dev/null || :
	grep -H . /sys/block/loop*/loop/backing_file 2> /dev/null || :
}
