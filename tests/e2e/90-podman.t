#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# podman cannot tell podvm from crun: the same script with both, step by step. Sections:
# settings exec terminal status statistics network volumes image life pod kube; ROUNDS chooses.
# shellcheck disable=SC2016,SC2034,SC2086
set -eu
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/podman.sh"
. "$(dirname "$0")/compare.sh"
SECTIONS='settings exec terminal'
ON_PTY=$TOP/tests/e2e/on-pty.py

story_begin
make_layers
ROOT=/run/podvm
podman_begin "$BIN/podvm" "volume_path = \"$WORK/disk/named\""
# There is no systemd whose timers could call the health checks.
export DISABLE_HC_SYSTEMD=true
V=$WORK/disk/volumes

pod() { podman --runtime "$RUNTIME" "$@"; }
run() { pod run --rm --network none "$@"; }
state() { pod inspect --format '{{.State.Status}} {{.State.ExitCode}}' "$1"; }
is_state() { [ "$(state "$1")" = "$2" ]; }
until_state() { wait_for 60 is_state "$@" && state "$1"; }
# What a runtime says is its own wording; the engine's status is not.
silent() { "$@" 2> /dev/null; }

# What a container has of what it was given.
inside='id; hostname; pwd; echo "$A $HOME $TERM"; umask; ulimit -n; ulimit -Hn
	grep -E "^(Cap|NoNewPrivs|Seccomp:)" /proc/self/status
	for f in memory.max memory.swap.max pids.max cpu.max cpu.weight; do echo "$f $(cat /sys/fs/cgroup/$f)"; done
	cat /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_unprivileged_port_start
	df -k /dev/shm /scratch | awk "NR > 1 { print \$2, \$6 }"
	for f in / /etc /scratch /tmp /run /var/tmp /dev/shm; do
		touch $f/new 2> /dev/null && echo "wrote $f" || echo "refused $f"; done
	grep a.example /etc/hosts; grep -v "^#" /etc/resolv.conf
	ls -ld /proc/self/fd/0 | wc -l; cat /proc/self/attr/current 2> /dev/null; echo'
# What it sees of its world, when it was given nothing.
world='ls /dev | sort; ls -l /dev/null /dev/tty | cut -c 1-10
	for f in /proc/keys /proc/timer_list /proc/sys/kernel/hostname /sys/firmware /proc/scsi; do
		ls $f > /dev/null 2>&1 && echo "$f $(cat $f 2> /dev/null | wc -c)"; done
	touch /proc/sysrq-trigger 2> /dev/null || echo "sysrq refused"; (set -- /proc/[0-9]*; echo $#)
	readlink /proc/self/exe; cat /proc/self/cgroup; ps -o comm; ip -o link; ls -a /'

settings() {
	section settings || return 0
	step 'run: what it was given' run --hostname inside --user 1000:1000 --group-add 7 --env A=b --workdir /home \
		--cap-drop ALL --cap-add CHOWN --read-only --tmpfs /scratch:size=1m,mode=1777 --memory 64m --cpus 0.5 \
		--pids-limit 50 --cpuset-cpus 0 --ulimit nofile=100:200 --shm-size 2m --security-opt no-new-privileges --oom-score-adj 100 \
		--sysctl net.ipv4.ip_unprivileged_port_start=0 --add-host a.example:10.9.8.7 --dns 10.9.8.1 --umask 0027 \
		base sh -c "$inside"
	step 'run: its world' run base sh -c "$world"
	step 'run: its mounts' run base sh -c 'awk "{ print \$2, \$3 }" /proc/mounts | sort'
	step 'run: output and status' run base sh -c 'echo out; echo err >&2; exit 3'
}

statuses() {
	section status || return 0
	step 'run: standard input' feed hello run -i base sh -c 'read x; echo "got $x"'
	step 'run: a signal of its own' run base sh -c 'kill -9 $$; echo alive'
	step 'run: no such program' silent run base no-such-program
	step 'run: not a program' silent run base /etc/passwd
	printf '#!/no/interpreter\n' > "$WORK/disk/refused"
	chmod 755 "$WORK/disk/refused"
	step 'run: no interpreter' silent run -v "$WORK/disk/refused:/refused" base /refused
	step 'run: no such directory' silent run --workdir /no/where base true
	step 'run: no such user' silent run --user nobody-here base true
	step 'run: an option that podman refuses' silent run --memory x base true
	step 'run: privileged' silent run --privileged base grep CapEff /proc/self/status
	step 'run: out of memory' run --memory 16m base sh -c 'x=x; while :; do x=$x$x; done'
	step 'run: too many processes' run --pids-limit 8 base sh -c 'for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; wait'
	step 'create, start -a' sh -c 'podman --runtime "$1" create --name c --network none base echo once > /dev/null; podman start -a c; podman start -a c; podman rm c' - "$RUNTIME"
}

running() {
	section exec || return 0
	step 'run -d' pod run -d --name c --network none --label l=1 --health-cmd 'test -e /healthy' --stop-timeout 30 base \
		sh -c 'trap "echo term; exit 9" TERM; trap "echo usr1" USR1; echo up; while :; do sleep 0.1; done'
	step 'inspect: running' state c
	step 'exec: output and status' pod exec c sh -c 'echo out; echo err >&2; exit 4'
	step 'exec: standard input' feed hello pod exec -i c cat
	step 'exec: user, directory, environment' pod exec --user 1000:5 --workdir /var --env B=c c sh -c 'id; pwd; echo $B'
	step 'exec: no such program' silent pod exec c no-such-program
	step 'exec: not a program' silent pod exec c /etc/passwd
	step 'exec: ended by a signal' pod exec c sh -c 'kill -9 $$; sleep 9'
	step 'exec -t' "$ON_PTY" 30x90 -- podman exec -t c sh -c "$(sized 30 90)"'; tty; exit 6'
	step 'exec -d' pod exec -d c touch /healthy
	wait_for 20 podman exec c test -e /healthy || :
	step 'healthcheck' pod healthcheck run c
	step 'pause' pod pause c
	step 'inspect: paused' state c
	step 'exec: paused' silent pod exec c true
	step 'unpause' pod unpause c
	step 'kill: a signal that is caught' pod kill --signal USR1 c
	wait_for 20 sh -c 'podman logs c | grep -q usr1' || :
	step 'stop: the process ends by itself' pod stop c
	step 'inspect: stopped' state c
	step 'wait' pod wait c
	step 'logs' pod logs c
	step 'exec: stopped' silent pod exec c true
	step 'rm' pod rm c
}

statistics() {
	section statistics || return 0
	step 'run -d, with limits' pod run -d --name c --network none --memory 64m --pids-limit 50 base sleep 1000
	step 'top' pod top c pid,user,comm
	step 'top: ps in the container' pod top c -o pid,comm
	step 'stats' pod stats --no-stream --format '{{.Name}} {{.PIDs}}' c
	step 'stats: limit' pod stats --no-stream --format '{{.MemUsage}}' c
	step 'update' silent pod update --cpus 0.3 c
	step 'cpu.max' pod exec c cat /sys/fs/cgroup/cpu.max
	step 'kill' pod kill c
	step 'inspect: killed' until_state c 'exited 137'
	step 'rm, killed' pod rm c
	step 'run -d, deaf' pod run -d --name c --network none base sh -c 'trap "" TERM; while :; do sleep 0.1; done'
	step 'stop: it is killed' pod stop -t 1 c
	step 'inspect: killed at the end of stop' state c
	step 'rm -f' pod rm -f c
}

terminal() {
	section terminal || return 0
	step 'run -it' "$ON_PTY" 40x100 'ready\r\n' 'hello\r' 'got hello\r\n' '\3' -- podman --runtime "$RUNTIME" run --rm -it \
		--network none --detach-keys '' base \
		sh -c "$(sized 40 100)"'; tty; trap "echo interrupted; exit 5" INT; echo ready; read x; echo "got $x"; while :; do sleep 0.1; done'
}

network() {
	section network || return 0
	step 'run -d -p' pod run -d --name c -p 127.0.0.1:18080:8080 base httpd -f -p 8080 -h /etc
	ip=$(podman inspect --format '{{.NetworkSettings.IPAddress}}' c)
	step 'from the host' wait_for 20 busybox wget -q -O - "http://$ip:8080/motd"
	step 'from the host, by the published port' busybox wget -q -O - http://127.0.0.1:18080/motd
	step 'port' pod port c
	step 'from another container' pod run --rm base wget -q -O - "http://$ip:8080/motd"
	step 'its own address' sh -c 'podman exec c ip -4 -o addr show eth0 | grep -c "$1/16"' - "$ip"
	step 'its interfaces and routes' pod exec c sh -c 'ip -o link | sed "s/^[0-9]*: //; s/[:@].*//" | sort; ip route | sed "s/[0-9.]*\.[0-9]* *$//" | sort'
	step 'name resolution of its own name' pod exec c sh -c 'grep -c "$(hostname)" /etc/hosts'
	step 'rm -f, on a network' pod rm -f -t 0 c
	step 'network create' pod network create --subnet 10.99.7.0/24 net7
	step 'run --ip' pod run --rm --network net7 --ip 10.99.7.77 --mac-address 02:00:00:07:07:07 base ip -o addr show eth0
	step 'network rm' pod network rm net7
	step 'run --network of a container' pod run -d --name a --network none base sleep 1000
	step 'joined' silent pod run --rm --network container:a base true
	step 'rm, joined' pod rm -f -t 0 a
}

volumes() {
	section volumes || return 0
	rm -rf "$V"
	mkdir -p "$V/data" "$V/ro"
	echo host > "$V/data/file"
	step 'volume create' pod volume create named
	step 'run -v' run -v "$V/data:/data" -v "$V/ro:/ro:ro" -v named:/named -v /anonymous --mount type=tmpfs,destination=/t,tmpfs-size=1m base sh -c '
		cat /data/file; echo back > /data/back; touch /ro/x 2> /dev/null || echo refused; echo kept > /named/file
		df -k /t | awk "NR == 2 { print \$2 }"; touch /anonymous/x; ls -ldn /data /named /anonymous | cut -c 1-10'
	step 'what came back' cat "$V/data/back"
	step 'run -v, again' run -v named:/n base cat /n/file
	step 'volumes-from' sh -c 'podman --runtime "$1" create --name c -v named:/n base true > /dev/null; podman --runtime "$1" run --rm --volumes-from c base cat /n/file; podman rm c' - "$RUNTIME"
	step 'volume rm' pod volume rm named
}

image() {
	section image || return 0
	step 'run, changing files' pod run --name c --network none base sh -ec 'echo new > /made; rm /etc/group; mkdir -p /a/b; ln -s ../made /a/sym; chmod 711 /home'
	step 'diff' sh -c 'podman diff c | sort'
	step 'commit' pod commit -q c committed
	step 'run of what was committed' run committed sh -c 'cat /a/sym; ls -ld /home | cut -c 1-10; ls /etc'
	step 'rmi' sh -c 'podman rmi -f committed > /dev/null'
	step 'cp: from a stopped one' sh -c 'podman cp c:/made - | tar -xO'
	echo copied > "$WORK/copied"
	step 'cp: into a stopped one' sh -c 'podman cp "$1" c:/etc/copied && podman cp c:/etc/copied - | tar -xO' - "$WORK/copied"
	step 'rm, stopped' pod rm c
	step 'run -d, for cp' pod run -d --name c --network none base sh -c 'echo inside > /made; sleep 1000'
	wait_for 20 podman exec c test -e /made || :
	step 'cp: from a running one' sh -c 'podman cp c:/made - | tar -xO'
	step 'cp: into a running one' sh -c 'podman cp "$1" c:/copied && podman exec c cat /copied' - "$WORK/copied"
	step 'the host has nothing of it' sh -c 'ls /copied /made'
	step 'rm -f, after cp' pod rm -f -t 0 c
}

life() {
	section life || return 0
	rm -rf "$V"
	mkdir -p "$V"
	step 'run -d --restart' pod run -d --name c --network none --restart on-failure:2 -v "$V:/v" base sh -c 'echo x >> /v/count; exit 3'
	step 'its end' until_state c 'exited 3'
	step 'its lives' sh -c 'wc -l < "$1"' - "$V/count"
	step 'rm, after restarts' pod rm c
	# A runtime may have used up numbers of the container's before its program runs.
	step 'run --init' run --init base sh -c 'ps -o pid,comm | sed -E "/ ps\$/d; s/^ *([2-9]|[0-9]{2,}) /N /"'
	step 'run -d, to be restarted' pod run -d --name c --network none base sh -c 'echo x >> /count; cat /count; exec sleep 1000'
	step 'restart' pod restart -t 0 c
	step 'logs of both lives' sh -c 'sleep 1; podman logs c'
	step 'rename' pod rename c d
	step 'rm -f, renamed' pod rm -f -t 0 d
	step 'ps' pod ps -aq
}

# allow_devices POD - see the program
allow_devices() { "$TOP/tests/e2e/cgroup-allow.py" "/sys/fs/cgroup$(podman pod inspect --format '{{.CgroupPath}}' "$1")"; }

in_pod() {
	section pod || return 0
	step 'pod create' pod pod create --name p -p 127.0.0.1:18081:8080
	allow_devices p
	step 'a first container' pod run -d --pod p --name a base httpd -f -p 8080 -h /etc
	step 'a second one reaches it on localhost' pod run --rm --pod p base sh -c 'for i in 1 2 3 4 5 6 7 8 9; do wget -q -O - http://localhost:8080/motd && break; sleep 0.5; done'
	step 'the host reaches it' busybox wget -q -O - http://127.0.0.1:18081/motd
	step 'names' sh -c '[ "$(podman exec a hostname)" = p ] && echo same'
	step 'exec in the pod' pod exec a sh -c 'echo in; exit 7'
	step 'pod ps' pod pod ps --format '{{.Name}} {{.Status}} {{.NumberOfContainers}}'
	step 'pod stop' sh -c 'podman pod stop -t 1 p > /dev/null'
	step 'pod ps, stopped' pod pod ps --format '{{.Name}} {{.Status}} {{.NumberOfContainers}}'
	step 'pod start' sh -c 'podman pod start p > /dev/null; podman exec a echo again'
	step 'pod pause, unpause' sh -c 'podman pod pause p > /dev/null && podman pod unpause p > /dev/null && podman exec a echo again'
	step 'pod kill' sh -c 'podman pod kill p > /dev/null'
	step 'pod rm' sh -c 'podman pod rm -f p > /dev/null'
}

kube() {
	section kube || return 0
	# What comes from a file of Kubernetes gets no PATH but its image's.
	podman_image base --change 'ENV PATH=/bin'
	step 'play kube' sh -c 'podman --runtime "$1" play kube --start=false "$2" > /dev/null' - "$RUNTIME" "$TOP/cni-examples/pod.yaml"
	allow_devices web
	step 'its start' sh -c 'podman pod start web > /dev/null'
	step 'its containers' sh -c 'podman ps -a --format "{{.Names}} {{.State}}" | sed "s/ [0-9]* seconds* ago//" | sort'
	step 'one reaches the other' pod exec web-client sh -c 'for i in 1 2 3 4 5 6 7 8 9; do wget -q -O - http://localhost:8080/motd && break; sleep 0.5; done'
	step 'generate kube' sh -c 'podman generate kube web | grep -v -e creationTimestamp -e "^#"'
	step 'play kube --down' sh -c 'podman play kube --down "$1" > /dev/null' - "$TOP/cni-examples/pod.yaml"
	step 'nothing is left of it' pod ps -aq
}

script() {
	settings
	statuses
	running
	statistics
	terminal
	network
	volumes
	image
	life
	in_pod
	kube
	podman rm -f -t 0 -a > /dev/null 2>&1 || :
}
compare script
compared
ok 'the list of differences names steps' differences_named
ok 'no process of podvm is left' is "$(podvm_processes)" ''
ok 'and no container' is "$(podvm list -q)" ''
podman rmi -f -a > /dev/null 2>&1 || :
podman_end
tap_done
