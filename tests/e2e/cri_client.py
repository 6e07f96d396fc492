# SPDX-License-Identifier: Apache-2.0
"""A small client of the Container Runtime Interface (Kubernetes, runtime.v1).

Messages are dictionaries, encoded by the table below, which has of each message what the
tests use (numbers as in the API's api.proto). What an engine streams (exec, attach,
port-forward) comes by WebSocket (RFC 6455) with Kubernetes' channel protocol: the first
byte of each message is the number of a channel.
"""
import base64
import os
import socket
import struct
import urllib.parse

import grpc

# What a call may take on the node before the test gives up.
CALL_DEADLINE_S = 600

# NUMBER NAME TYPE; "*": repeated; int: any integer, boolean or enumeration; map: of strings.
TABLE = """
RunPodSandboxRequest: 1 config PodSandboxConfig, 2 runtime_handler string
RunPodSandboxResponse: 1 pod_sandbox_id string
PodSandboxConfig: 1 metadata PodSandboxMetadata, 2 hostname string, 3 log_directory string, 4 dns_config DNSConfig, 6 labels map, 7 annotations map, 8 linux LinuxPodSandboxConfig
PodSandboxMetadata: 1 name string, 2 uid string, 3 namespace string, 4 attempt int
DNSConfig: 1 servers *string, 2 searches *string, 3 options *string
LinuxPodSandboxConfig: 1 cgroup_parent string, 2 security_context LinuxSandboxSecurityContext, 3 sysctls map, 5 resources LinuxContainerResources
LinuxSandboxSecurityContext: 1 namespace_options NamespaceOption, 6 privileged int
NamespaceOption: 1 network int, 2 pid int, 3 ipc int, 4 target_id string
LinuxContainerResources: 1 cpu_period int, 2 cpu_quota int, 3 cpu_shares int, 4 memory_limit_in_bytes int, 5 oom_score_adj int
PodSandboxIdRequest: 1 pod_sandbox_id string
PodSandboxStatusResponse: 1 status PodSandboxStatus
PodSandboxStatus: 1 id string, 3 state int, 5 network PodSandboxNetworkStatus, 9 runtime_handler string
PodSandboxNetworkStatus: 1 ip string
ListRequest:
ListPodSandboxResponse: 1 items *PodSandbox
PodSandbox: 1 id string, 3 state int
CreateContainerRequest: 1 pod_sandbox_id string, 2 config ContainerConfig, 3 sandbox_config PodSandboxConfig
CreateContainerResponse: 1 container_id string
ContainerConfig: 1 metadata ContainerMetadata, 2 image ImageSpec, 3 command *string, 4 args *string, 5 working_dir string, 6 envs *KeyValue, 7 mounts *Mount, 9 labels map, 10 annotations map, 11 log_path string, 12 stdin int, 13 stdin_once int, 14 tty int, 15 linux LinuxContainerConfig
ContainerMetadata: 1 name string, 2 attempt int
ImageSpec: 1 image string
KeyValue: 1 key string, 2 value string
Mount: 1 container_path string, 2 host_path string, 3 readonly int
LinuxContainerConfig: 1 resources LinuxContainerResources, 2 security_context LinuxContainerSecurityContext
LinuxContainerSecurityContext: 2 privileged int, 3 namespace_options NamespaceOption, 5 run_as_user Int64Value, 7 readonly_rootfs int, 11 no_new_privs int
Int64Value: 1 value int
ContainerIdRequest: 1 container_id string
StopContainerRequest: 1 container_id string, 2 timeout int
ListContainersResponse: 1 containers *Container
Container: 1 id string, 3 metadata ContainerMetadata, 6 state int
ContainerStatusResponse: 1 status ContainerStatus
ContainerStatus: 2 metadata ContainerMetadata, 3 state int, 7 exit_code int, 10 reason string
UpdateContainerResourcesRequest: 1 container_id string, 2 linux LinuxContainerResources
ExecSyncRequest: 1 container_id string, 2 cmd *string, 3 timeout int
ExecSyncResponse: 1 stdout bytes, 2 stderr bytes, 3 exit_code int
ExecRequest: 1 container_id string, 2 cmd *string, 3 tty int, 4 stdin int, 5 stdout int, 6 stderr int
AttachRequest: 1 container_id string, 2 stdin int, 3 tty int, 4 stdout int, 5 stderr int
PortForwardRequest: 1 pod_sandbox_id string, 2 port *int
UrlResponse: 1 url string
ContainerStatsResponse: 1 stats ContainerStats
ContainerStats: 1 attributes ContainerAttributes, 2 cpu CpuUsage, 3 memory MemoryUsage
ContainerAttributes: 1 id string, 2 metadata ContainerMetadata
CpuUsage: 2 usage_core_nano_seconds UInt64Value
MemoryUsage: 2 working_set_bytes UInt64Value
UInt64Value: 1 value int
StatusResponse: 1 status RuntimeStatus
RuntimeStatus: 1 conditions *RuntimeCondition
RuntimeCondition: 1 type string, 2 status int
Nothing:
"""

# Method: its request's and its answer's message.
METHODS = {
    "RunPodSandbox": ("RunPodSandboxRequest", "RunPodSandboxResponse"),
    "PodSandboxStatus": ("PodSandboxIdRequest", "PodSandboxStatusResponse"),
    "StopPodSandbox": ("PodSandboxIdRequest", "Nothing"),
    "RemovePodSandbox": ("PodSandboxIdRequest", "Nothing"),
    "ListPodSandbox": ("ListRequest", "ListPodSandboxResponse"),
    "CreateContainer": ("CreateContainerRequest", "CreateContainerResponse"),
    "StartContainer": ("ContainerIdRequest", "Nothing"),
    "StopContainer": ("StopContainerRequest", "Nothing"),
    "RemoveContainer": ("ContainerIdRequest", "Nothing"),
    "ListContainers": ("ListRequest", "ListContainersResponse"),
    "ContainerStatus": ("ContainerIdRequest", "ContainerStatusResponse"),
    "ContainerStats": ("ContainerIdRequest", "ContainerStatsResponse"),
    "UpdateContainerResources": ("UpdateContainerResourcesRequest", "Nothing"),
    "ReopenContainerLog": ("ContainerIdRequest", "Nothing"),
    "ExecSync": ("ExecSyncRequest", "ExecSyncResponse"),
    "Exec": ("ExecRequest", "UrlResponse"),
    "Attach": ("AttachRequest", "UrlResponse"),
    "PortForward": ("PortForwardRequest", "UrlResponse"),
    "Status": ("ListRequest", "StatusResponse"),
}


def parse_table():
    messages = {}
    for line in TABLE.strip().splitlines():
        name, _, fields = line.partition(":")
        messages[name] = [(int(n), field, kind.lstrip("*"), kind.startswith("*"))
                          for n, field, kind in (f.split() for f in fields.split(",") if f.strip())]
    return messages


MESSAGES = parse_table()
MESSAGES["MapEntry"] = [(1, "key", "string", False), (2, "value", "string", False)]


def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def encode_one(number, kind, value):
    if kind == "int":
        return varint(number << 3) + varint(int(value))
    if kind == "string":
        value = value.encode()
    elif kind != "bytes":
        value = encode(kind, value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def encode(message, values):
    """Return the bytes of a dictionary; a name that the table lacks is an error."""
    out = b""
    fields = {name: (number, kind, many) for number, name, kind, many in MESSAGES[message]}
    for name, value in values.items():
        number, kind, many = fields[name]
        if kind == "map":
            kind, many = "MapEntry", True
            value = [{"key": k, "value": v} for k, v in value.items()]
        for one in value if many else [value]:
            out += encode_one(number, kind, one)
    return out


def take_varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def take_field(data, at):
    """Return number, value (an integer or bytes), and where the next field is."""
    key, at = take_varint(data, at)
    wire = key & 7
    if wire == 0:
        value, at = take_varint(data, at)
        return key >> 3, value, at
    size, at = (8, at) if wire == 1 else (4, at) if wire == 5 else take_varint(data, at)
    return key >> 3, data[at:at + size], at + size


def decode(message, data):
    """Return a dictionary of all fields of the table; what is absent has its default."""
    fields = {n: (name, kind, many) for n, name, kind, many in MESSAGES[message]}
    out = {name: [] if many else {} if kind == "map" else
           {"int": 0, "string": "", "bytes": b""}.get(kind)
           for name, kind, many in fields.values()}
    at = 0
    while at < len(data):
        number, value, at = take_field(data, at)
        if number not in fields:
            continue
        name, kind, many = fields[number]
        if kind == "map":
            entry = decode("MapEntry", value)
            out[name][entry["key"]] = entry["value"]
            continue
        if kind == "string":
            value = value.decode()
        elif kind not in ("int", "bytes"):
            value = decode(kind, value)
        if many:
            out[name].append(value)
        else:
            out[name] = value
    return out


class Client:
    """Calls of the runtime service at a unix socket."""

    def __init__(self, path):
        self.channel = grpc.insecure_channel("unix://" + path)

    def call(self, method, **values):
        """The answer; what the request says of time (timeout) is the engine's to keep."""
        request, response = METHODS[method]
        function = self.channel.unary_unary(
            "/runtime.v1.RuntimeService/" + method,
            request_serializer=lambda v: encode(request, v),
            response_deserializer=lambda d: decode(response, d))
        return function(values, timeout=CALL_DEADLINE_S, wait_for_ready=True)


class Stream:
    """A stream of an engine: channels over a WebSocket, text and binary alike."""

    def __init__(self, url, timeout=600):
        at = urllib.parse.urlsplit(url)
        self.sock = socket.create_connection((at.hostname, at.port), timeout)
        self.buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        path = at.path + ("?" + at.query if at.query else "")
        self.sock.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {at.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n".encode())
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        if b" 101 " not in head.splitlines()[0]:
            raise ConnectionError(head.decode())

    def more(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self.buffer += data

    def take(self, size):
        while len(self.buffer) < size:
            self.more()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def send(self, channel, data, opcode=2):
        data = bytes([channel]) + data if opcode == 2 else data
        mask = os.urandom(4)
        size = (struct.pack("!B", 128 | len(data)) if len(data) < 126 else
                struct.pack("!BH", 128 | 126, len(data)))
        body = bytes(b ^ mask[i % 4] for i, b in enumerate(data))
        self.sock.sendall(bytes([128 | opcode]) + size + mask + body)

    def receive(self):
        """Return channel and data; raise EOFError at the end."""
        while True:
            first, size = self.take(2)
            size &= 127
            if size == 126:
                size, = struct.unpack("!H", self.take(2))
            elif size == 127:
                size, = struct.unpack("!Q", self.take(8))
            data = self.take(size)
            if first & 15 == 8:
                raise EOFError
            if first & 15 == 9:
                self.send(0, data, opcode=10)
            elif data:
                return data[0], data[1:]

    def all(self):
        """Return what comes until the end, by channel."""
        out = {}
        try:
            while True:
                channel, data = self.receive()
                out[channel] = out.get(channel, b"") + data
        except (EOFError, ConnectionResetError):
            self.sock.close()
            return out

    def until(self, text, channel=1):
        """Return what comes on a channel up to a text."""
        out = b""
        while text not in out:
            at, data = self.receive()
            if at == channel:
                out += data
        return out
