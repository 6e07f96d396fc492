#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cri-script.py HANDLER DIRECTORY RESTART [SECTION...] - what a kubelet does, step by step

Runs a pod with two containers by the runtime handler HANDLER of the engine whose socket is
$CRI_SOCKET. Each step leaves a file in DIRECTORY, in the form of compare.sh. RESTART is a
command that restarts the engine. SECTIONs are those of the script that run.
"""
import glob
import json
import os
import re
import subprocess
import sys
import time

import grpc

from cri_client import Client, Stream

HANDLER, DIRECTORY, RESTART = sys.argv[1:4]
SECTIONS = sys.argv[4:]
LOGS = DIRECTORY + ".logs"
STATES = ["created", "running", "exited", "unknown"]
cri = Client(os.environ["CRI_SOCKET"])
steps = 0


def step(name, action, *args, **kwargs):
    """One step: what the action returns, or how the engine refused it."""
    global steps
    steps += 1
    status = 0
    if os.environ.get("ROUNDS"):
        print(f"# {HANDLER}: - {name}", flush=True)
    try:
        out = action(*args, **kwargs)
    except grpc.RpcError as e:
        out, status = "refused: " + e.code().name, 1
        print(f"# {HANDLER}: {name}: {e.details()}", flush=True)
    except Exception as e:  # pylint: disable=broad-except # told, and compared
        out, status = f"{type(e).__name__}: {e}", 2
    with open(f"{DIRECTORY}/{steps:04}", "w", encoding="utf-8") as f:
        f.write(f"{name}\n{'' if out is None else out}\n-- status: {status}\n")
    return out


def wait_for(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("it did not come")
        time.sleep(0.1)


def section(name):
    wanted = name in SECTIONS or "all" in SECTIONS
    if wanted:
        with open("/proc/uptime", encoding="ascii") as f:
            print(f"# {HANDLER}: {name} ({f.read().split('.')[0]} s)", flush=True)
    return wanted


SANDBOX = {
    "metadata": {"name": "web", "uid": "uid-1", "namespace": "default"},
    "hostname": "web-host",
    "log_directory": LOGS,
    "dns_config": {"servers": ["10.9.8.1"], "searches": ["a.example"]},
    "labels": {"app": "web"},
    "linux": {"cgroup_parent": "/kubepods/pod-web", "sysctls": {"net.ipv4.ip_unprivileged_port_start": "0"},
              "security_context": {"namespace_options": {"pid": 1}}},
}


class Pod:
    """A sandbox and its containers, by name."""

    def __init__(self):
        self.ids = {}
        self.id = ""

    def run(self):
        self.id = cri.call("RunPodSandbox", config=SANDBOX, runtime_handler=HANDLER)["pod_sandbox_id"]

    def status(self):
        s = cri.call("PodSandboxStatus", pod_sandbox_id=self.id)["status"]
        return f"state {s['state']}, address {re.sub(r'[0-9]+$', 'N', s['network']['ip'])}"

    def create(self, name, *command, attempt=0, target=None, **config):
        config.setdefault("linux", {}).setdefault("security_context", {})["namespace_options"] = \
            {"pid": 3, "target_id": self.ids[target]} if target else {"pid": 1}
        self.ids[name] = cri.call(
            "CreateContainer", pod_sandbox_id=self.id, sandbox_config=SANDBOX,
            config={"metadata": {"name": name, "attempt": attempt}, "image": {"image": "podvm.test/base:1"},
                    "command": list(command), "log_path": name + ".log", **config})["container_id"]

    def start(self, name):
        cri.call("StartContainer", container_id=self.ids[name])

    def create_start(self, name, *command, **config):
        self.create(name, *command, **config)
        self.start(name)

    def exec(self, name, *command, timeout=0):
        r = cri.call("ExecSync", container_id=self.ids[name], cmd=list(command), timeout=timeout)
        return f"out: {r['stdout'].decode()}err: {r['stderr'].decode()}code: {r['exit_code']}"

    def shell(self, name, script, **kwargs):
        return self.exec(name, "sh", "-c", script, **kwargs)

    def states(self):
        """By name; other pods' containers are not the script's."""
        return "\n".join(sorted(f"{c['metadata']['name']} {STATES[c['state']]}"
                                for c in cri.call("ListContainers")["containers"]
                                if c["id"] in self.ids.values()))

    def ended(self, name):
        s = cri.call("ContainerStatus", container_id=self.ids[name])["status"]
        return f"{STATES[s['state']]} {s['exit_code']} {s['reason']}"

    def await_end(self, name):
        wait_for(lambda: self.ended(name).startswith("exited"))
        return self.ended(name)

    def stop(self, name, timeout):
        cri.call("StopContainer", container_id=self.ids[name], timeout=timeout)
        return self.ended(name)

    def remove(self, name):
        cri.call("RemoveContainer", container_id=self.ids.pop(name))
        return self.states()

    def log(self, name):
        with open(f"{LOGS}/{name}.log", encoding="utf-8") as f:
            return re.sub(r"(?m)^\S+", "TIME", f.read())

    def stream_exec(self, name, script, tty=False, stdin=b"", size=None):
        url = cri.call("Exec", container_id=self.ids[name], cmd=["sh", "-c", script], tty=tty,
                       stdin=bool(stdin), stdout=True, stderr=not tty)["url"]
        s = Stream(url)
        if size:
            s.send(4, json.dumps({"Width": size[0], "Height": size[1]}).encode())
        if stdin:
            s.send(0, stdin)
        return told(s.all())

    def attach(self, name, line):
        s = Stream(cri.call("Attach", container_id=self.ids[name], stdin=True, stdout=True, stderr=True)["url"])
        s.send(0, line + b"\n")
        out = s.until(b"\n").decode()
        s.sock.close()
        return out

    def forward(self, port, path):
        s = Stream(cri.call("PortForward", pod_sandbox_id=self.id, port=[port])["url"])
        s.send(0, f"GET {path} HTTP/1.0\r\n\r\n".encode())
        # The body; before it come the port's number, as the channel's first message, and the head.
        return s.all().get(0, b"").decode(errors="replace").partition("\r\n\r\n")[2]

    def stats(self, name):
        s = cri.call("ContainerStats", container_id=self.ids[name])["stats"]
        return (f"{s['attributes']['metadata']['name']} cpu {s['cpu']['usage_core_nano_seconds']['value'] > 0}"
                f" memory {s['memory']['working_set_bytes']['value'] > 0}")

    def working_set_mib(self, name):
        s = cri.call("ContainerStats", container_id=self.ids[name])["stats"]
        return s["memory"]["working_set_bytes"]["value"] >> 20

    def end(self):
        cri.call("StopPodSandbox", pod_sandbox_id=self.id)
        state = self.status().split(",")[0]
        cri.call("RemovePodSandbox", pod_sandbox_id=self.id)
        return f"{state}; left: {[p for p in cri.call('ListPodSandbox')['items'] if p['id'] == self.id]}"


def told(channels):
    """What a streaming exec has told; its status without the engine's words for it."""
    status = json.loads(channels.get(3, b"{}") or b"{}")
    causes = [c["message"] for c in status.get("details", {}).get("causes", [])]
    return (f"out: {channels.get(1, b'').decode()}err: {channels.get(2, b'').decode()}"
            f"{status.get('status')} {causes}").replace("\r", "")


def reopen_log(pod):
    os.rename(f"{LOGS}/ticker.log", f"{LOGS}/ticker.old")
    cri.call("ReopenContainerLog", container_id=pod.ids["ticker"])
    wait_for(lambda: os.path.exists(f"{LOGS}/ticker.log") and os.path.getsize(f"{LOGS}/ticker.log"))
    before = os.path.getsize(f"{LOGS}/ticker.old")
    time.sleep(1)
    return f"old log is left alone: {os.path.getsize(f'{LOGS}/ticker.old') == before}"


def update(pod, **resources):
    cri.call("UpdateContainerResources", container_id=pod.ids["ticker"], linux=resources)
    return pod.shell("ticker", "cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/memory.max")


def ready():
    try:
        return all(c["status"] for c in cri.call("Status")["status"]["conditions"])
    except grpc.RpcError:
        return False


def restart():
    subprocess.run(RESTART, shell=True, check=True)
    wait_for(ready)


def script():
    os.makedirs(LOGS, exist_ok=True)
    pod = Pod()
    section("pod")
    step("run the sandbox", pod.run)
    step("sandbox status", pod.status)
    step("first container", pod.create_start, "web", "httpd", "-f", "-p", "8080", "-h", "/etc")
    step("second container", pod.create_start, "ticker", "sh", "-c",
         "trap 'exit 9' TERM; echo up; echo to-err >&2; while :; do echo tick; sleep 0.3; done", envs=[{"key": "A", "value": "b"}], working_dir="/home",
         linux={"resources": {"cpu_quota": 50000, "cpu_period": 100000, "memory_limit_in_bytes": 64 << 20}})
    step("states", pod.states)
    step("exec sync", pod.shell, "ticker", "echo out; echo err >&2; echo $A; pwd; hostname; exit 4")
    step("its files", pod.shell, "ticker", "cat /etc/resolv.conf; cat /sys/fs/cgroup/memory.max")
    step("they reach each other", pod.shell, "ticker",
         "for i in 1 2 3 4 5 6 7 8 9; do wget -q -O - http://localhost:8080/motd && break; sleep 0.5; done")
    if section("exec"):
        step("exec sync: too late", pod.exec, "ticker", "sleep", "100", timeout=1)
        step("exec sync: nothing is left of it", pod.shell, "ticker", "for i in 1 2 3 4 5 6 7 8 9; do ps | grep -q '[s]leep 100' || break; sleep 1; done; "
             "ps | grep -c '[s]leep 100'")
        step("exec sync: no such program", pod.exec, "ticker", "no-such-program")
        step("exec", pod.stream_exec, "ticker", "echo out; echo err >&2; exit 5")
        step("exec: standard input", pod.stream_exec, "ticker", "read x; echo \"got $x\"", stdin=b"hello\n")
        step("exec: terminal", pod.stream_exec, "ticker", "sleep 1; stty size; tty", tty=True, size=(90, 30))
        step("a container that sees another's processes", pod.create_start, "debug", "sh", "-c", "while :; do sleep 0.3; done",
             target="ticker")
        step("it sees them", pod.shell, "debug", "tr '\\0' '\\n' < /proc/1/cmdline; ps -o args | grep -c '[w]hile :; do echo tick'; hostname")
        step("its exec sees them, too", pod.shell, "debug", "kill -0 1 && echo 1 lives")
        step("it ends", pod.stop, "debug", 0)
        step("and leaves the other one", pod.ended, "ticker")
        step("its remove", pod.remove, "debug")
        step("a container that listens", pod.create_start, "talker", "sh", "-c",
             "while read x; do echo \"got $x\"; done", stdin=True)
        step("attach", pod.attach, "talker", b"attached")
        step("attach: once more", pod.attach, "talker", b"again")
        step("port-forward", pod.forward, 8080, "/motd")
        step("port-forward: a second one", pod.forward, 8080, "/motd")
    if section("work"):
        step("stats", pod.stats, "ticker")
        step("update: processors", update, pod, cpu_quota=20000, cpu_period=100000)
        step("update: memory", update, pod, memory_limit_in_bytes=80 << 20)
        step("stats of memory that is used", lambda: pod.shell(
            "ticker", "dd if=/dev/zero of=/dev/shm/x bs=1M count=30 2> /dev/null") + f" {pod.working_set_mib('ticker') >= 28}")
        # Two pipes, which the engine reads in any order.
        step("log", lambda: "\n".join(sorted(set(pod.log("ticker").splitlines()))))
        step("log reopened", reopen_log, pod)
        step("a container that runs out of memory", pod.create_start, "hungry", "sh", "-c",
             "x=x; while :; do x=$x$x; done", linux={"resources": {"memory_limit_in_bytes": 16 << 20}})
        step("its end", pod.await_end, "hungry")
        step("it is removed", pod.remove, "hungry")
        step("a container that fails", pod.create_start, "failing", "sh", "-c", "exit 3")
        step("the end of that one", pod.await_end, "failing")
        step("started again as another", pod.create_start, "failing-1", "sh", "-c", "exit 0")
        step("the end of the other", pod.await_end, "failing-1")
    if section("restart"):
        step("restart of the engine", restart)
        step("states after it", pod.states)
        step("exec sync after it", pod.shell, "web", "echo still; hostname")
    section("end")
    step("stop: it ends by itself", pod.stop, "ticker", 30)
    step("stop: it is killed", pod.stop, "web", 0)
    step("remove", pod.remove, "ticker")
    step("end of the sandbox", pod.end)
    return glob.glob(LOGS + "/*")


script()
