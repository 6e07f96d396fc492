#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# docker cannot tell podvm from runc: the same script with both, step by step. runc is
# docker's own; crun of this release takes the limit 0 of "docker update", which means
# none, for a limit, and the container dies of it. The daemon's configuration is cni-examples/docker-daemon.json. Sections: run run-more exec network
# names volumes image no-proxy; ROUNDS chooses.
# shellcheck disable=SC2016,SC2034
set -eu
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/image.sh"
. "$(dirname "$0")/containerd.sh"
. "$(dirname "$0")/compare.sh"
SECTIONS='run'
REFERENCE=runc
ON_PTY=$TOP/tests/e2e/on-pty.py

story_begin
make_layers
# It is that of its own runtime, whatever runtime a container has.
ROOT=/run/docker/runtime-runc/moby
DOCKER_HOST=unix://$WORK/docker.sock
export DOCKER_HOST

# docker_begin PROXY - the daemon, with or without a process for each published port. It gives
# a containerd of its own 15 s to start, which is too short on a slow node.
docker_begin() {
	jq --arg podvm "$BIN/podvm" --argjson proxy "$1" --arg data "$WORK/disk/docker" \
		'.runtimes.podvm.path = $podvm
		 | .["userland-proxy"] = $proxy | .["data-root"] = $data | .["storage-driver"] = "overlay2"' \
		"$TOP/cni-examples/docker-daemon.json" > "$WORK/daemon.json"
	dockerd --config-file "$WORK/daemon.json" --containerd $CRI_SOCKET -H "$DOCKER_HOST" --pidfile "$WORK/docker.pid" \
		> "$WORK/dockerd.log" 2>&1 &
	docker_pid=$!
	until docker version > /dev/null 2>&1; do
		kill -0 $docker_pid 2> /dev/null || {
			tail -n 20 "$WORK/dockerd.log" | sed 's/^/# /'
			exit 1
		}
	done
}

docker_end() {
	kill "$(cat "$WORK/docker.pid")"
	wait_for 60 test ! -e "$WORK/docker.pid"
}

run() { docker run --runtime "$RUNTIME" "$@"; }
# Of what a runtime says about a program that cannot be run, the words that docker looks for.
reason() {
	reason_status=0
	"$@" > "$WORK/reason" 2>&1 || reason_status=$?
	sed -n 's/.*\(exec: "\)/\1/p' "$WORK/reason"
	return $reason_status
}
state() { docker inspect --format '{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}' "$1"; }

runs() {
	section run || return 0
	printf '#!/no/interpreter\n' > "$WORK/disk/refused"
	chmod 755 "$WORK/disk/refused"
	step 'run: what it was given' run --rm --network none --hostname inside --user 1000:1000 --group-add 7 --env A=b \
		--workdir /home --cap-drop ALL --cap-add CHOWN --read-only --tmpfs /scratch:size=1m,mode=1777 --memory 64m \
		--cpus 0.5 --cpuset-cpus 0 --pids-limit 50 --ulimit nofile=100:200 --shm-size 2m --security-opt no-new-privileges \
		--oom-score-adj 100 --sysctl net.ipv4.ip_unprivileged_port_start=0 base sh -c 'id; hostname; pwd; echo "$A $HOME"
			umask; ulimit -n; ulimit -Hn; grep -E "^(Cap|NoNewPrivs|Seccomp:)" /proc/self/status
			for f in memory.max pids.max cpu.max; do echo "$f $(cat /sys/fs/cgroup/$f)"; done
			cat /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_unprivileged_port_start
			df -k /dev/shm /scratch | awk "NR > 1 { print \$2, \$6 }"
			for f in / /etc /scratch /dev/shm; do touch $f/new 2> /dev/null && echo "wrote $f" || echo "refused $f"; done'
	section run-more || return 0
	step 'run: output and status' run --rm --network none base sh -c 'echo out; echo err >&2; exit 3'
	step 'run: standard input' feed hello docker run --runtime "$RUNTIME" --rm -i --network none base sh -c 'read x; echo "got $x"'
	step 'run: no such program' reason run --rm --network none base no-such-program
	step 'run: not a program' reason run --rm --network none base /etc/passwd
	step 'run: no interpreter' run --rm --network none -v "$WORK/disk/refused:/refused" base /refused
	step 'run: a signal of its own' run --rm --network none base sh -c 'kill -9 $$; echo alive'
	step 'run: out of memory' sh -c 'docker run --runtime "$1" --name one --network none --memory 16m base sh -c "x=x; while :; do x=\$x\$x; done"; docker inspect --format "{{.State.ExitCode}} {{.State.OOMKilled}}" one; docker rm one' - "$RUNTIME"
	step 'run -it' "$ON_PTY" 40x100 'ready\r\n' 'hello\r' -- docker run --runtime "$RUNTIME" --rm -it --network none base \
		sh -c "$(sized 40 100)"'; tty; echo ready; read x; echo "got $x"; exit 5'
	# A runtime may have used up numbers of the container's before its program runs.
	step 'run --init' run --rm --init --network none base sh -c 'ps -o pid,comm | sed -E "/ ps\$/d; s/^ *([2-9]|[0-9]{2,}) /N /"'
}

execs() {
	section exec || return 0
	step 'run -d' run -d --name one --network none --health-cmd 'test -e /healthy' --health-interval 10s base \
		sh -c 'trap "echo term; exit 9" TERM; trap "echo usr1" USR1; echo up; sleep 1000 & while :; do wait; done'
	step 'exec: output and status' docker exec one sh -c 'echo out; echo err >&2; exit 4'
	step 'exec: user, directory, environment' docker exec --user 1000:5 --workdir /var --env B=c one sh -c 'id; pwd; echo $B'
	step 'exec: standard input' feed hello docker exec -i one cat
	step 'exec: no such program' reason docker exec one no-such-program
	step 'exec: not a program' reason docker exec one /etc/passwd
	step 'exec -t' "$ON_PTY" 30x90 -- docker exec -t one sh -c "$(sized 30 90)"'; tty; exit 6'
	step 'exec -d' docker exec -d one touch /healthy
	step 'health' wait_for 60 sh -c 'docker inspect --format "{{.State.Health.Status}}" one | grep -qx healthy'
	step 'pause' docker pause one
	step 'inspect: paused' state one
	step 'unpause' docker unpause one
	step 'top' docker top one -o pid,comm
	step 'stats' docker stats --no-stream --format '{{.Name}} {{.PIDs}}' one
	step 'update' docker update --cpus 0.8 one
	step 'cpu.max' docker exec one cat /sys/fs/cgroup/cpu.max
	step 'kill: a signal that is caught' docker kill --signal USR1 one
	wait_for 2 sh -c 'docker logs one | grep -q usr1' || :
	step 'stop' docker stop -t 30 one
	step 'inspect: stopped' state one
	step 'logs' docker logs one
	step 'start' docker start one
	step 'kill' docker kill one
	step 'wait' docker wait one
	step 'rm' docker rm one
}

network() {
	section network || return 0
	step 'run -d -p' run -d --name one -p 127.0.0.1:18080:8080 base httpd -f -p 8080 -h /etc
	step 'by the published port' sh -c 'for i in 1 2 3 4 5 6 7 8 9; do busybox wget -q -O - http://127.0.0.1:18080/motd 2> /dev/null && break; sleep 0.5; done'
	step 'by its address' busybox wget -q -O - "http://$(docker inspect --format '{{.NetworkSettings.IPAddress}}' one):8080/motd"
	step 'port' docker port one
	step 'rm -f' docker rm -f one
	section names || return 0
	step 'network create' docker network create --subnet 10.99.7.0/24 net7
	step 'run -d on it' run -d --name server --network net7 base httpd -f -p 8080 -h /etc
	step 'by name' run --rm --network net7 base sh -c 'cat /etc/resolv.conf | grep nameserver; for i in 1 2 3 4 5 6 7 8 9; do wget -q -O - http://server:8080/motd 2> /dev/null && break; sleep 0.5; done'
	step 'network connect' sh -c 'docker run -d --runtime "$1" --name other base sleep 1000 > /dev/null && docker network connect net7 other &&
		docker exec other sh -c "for i in 1 2 3 4 5 6 7 8 9; do wget -T 3 -q -O - http://server:8080/motd 2> /dev/null && break; sleep 0.5; done"' - "$RUNTIME"
	step 'network disconnect' sh -c 'docker network disconnect net7 other &&
		docker exec other sh -c "for i in 1 2 3 4 5 6 7 8 9; do ip -o link | grep -q eth1 || break; sleep 0.5; done; ip -o link" | sed "s/^[0-9]*: //; s/[:@].*//" | sort'
	step 'rm -f of both' docker rm -f server other
	step 'network rm' docker network rm net7
}

volumes() {
	section volumes || return 0
	mkdir -p "$WORK/disk/data"
	echo host > "$WORK/disk/data/file"
	step 'run -v' run --rm --network none -v "$WORK/disk/data:/data" -v named:/named base sh -c 'cat /data/file; echo back > /data/back; echo kept > /named/file'
	step 'what came back' cat "$WORK/disk/data/back"
	step 'run -v, again' run --rm --network none -v named:/n:ro base sh -c 'cat /n/file; touch /n/x 2> /dev/null || echo refused'
	step 'volume rm' docker volume rm named
}

image() {
	section image || return 0
	step 'run, changing files' run --name one --network none base sh -ec 'echo new > /made; rm /etc/group; mkdir -p /a/b; chmod 711 /home'
	step 'diff' sh -c 'docker diff one | sort'
	step 'commit' docker commit one committed
	step 'run of what was committed' run --rm --network none committed sh -c 'cat /made; ls /etc; ls -ld /home | cut -c 1-10'
	step 'cp: from a stopped one' sh -c 'docker cp one:/made - | tar -xO'
	step 'rm, stopped' docker rm one
	step 'rmi' docker rmi committed
}

script() {
	runs
	execs
	network
	volumes
	image
}
image_archive base:latest "$WORK/disk/layers/base" '{"Env": ["PATH=/bin"], "Cmd": ["sh"]}' "$WORK/disk/base.tar"
printf 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n' > "$WORK/config.toml"
containerd_start "$WORK/config.toml"
docker_begin true
docker load -q -i "$WORK/disk/base.tar" > /dev/null
compare script
compared
if section no-proxy; then
	docker_end
	docker_begin false
	ROUNDS=network
	compare script
	compared
fi
ok 'the list of differences names steps' differences_named
docker_end
containerd_end
ok 'no process of podvm is left' is "$(podvm_processes)" ''
ok 'and no container' is "$(podvm list -q)" ''
tap_done
