#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# containerd's CRI cannot tell podvm from crun: what a kubelet does to a pod with two
# containers, step by step, with both. The configuration is cni-examples/containerd.toml. Sections:
# pod exec work restart end; ROUNDS chooses.
# shellcheck disable=SC2034 # read by what is sourced
set -eu
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/image.sh"
. "$(dirname "$0")/containerd.sh"
. "$(dirname "$0")/compare.sh"
SECTIONS='exec'
SCRIPT=$TOP/tests/e2e/cri-script.py
NAMESPACE=k8s.io

story_begin
make_layers
ROOT=/run/containerd/runc/k8s.io
mkdir "$WORK/cni"
cp "$CONFLIST" "$WORK/cni"

# The example, with our program and networks; crun for comparison; no image from elsewhere.
sed -e "s|/usr/local/bin/podvm|$BIN/podvm|; s|/etc/cni/net.d|$WORK/cni|" \
	-e '/grpc.v1.cri"\]/a sandbox_image = "podvm.test/pause:1"' \
	"$TOP/cni-examples/containerd.toml" > "$WORK/config.toml"
cat >> "$WORK/config.toml" << 'X'
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun.options]
      BinaryName = "/usr/bin/crun"
X
containerd_begin "$WORK/config.toml"

cat > "$WORK/restart" << X
#!/bin/sh
kill \$(cat "$WORK/containerd.pid")
while kill -0 \$(cat "$WORK/containerd.pid") 2> /dev/null; do sleep 0.1; done
containerd --config "$WORK/config.toml" > "$WORK/containerd-2.log" 2>&1 &
echo \$! > "$WORK/containerd.pid"
X
chmod +x "$WORK/restart"

script() {
	# shellcheck disable=SC2086 # words
	"$SCRIPT" "$RUNTIME" "$WORK/steps/$RUNTIME" "$WORK/restart" ${ROUNDS:-$SECTIONS}
}
compare script
compared
ok 'the list of differences names steps' differences_named "$SCRIPT"
ok 'no process of podvm is left' is "$(podvm_processes)" ''
ok 'and no container' is "$(podvm list -q)" ''
containerd_end
tap_done
