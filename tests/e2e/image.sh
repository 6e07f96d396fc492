# SPDX-License-Identifier: Apache-2.0
#
# Shared by the stories with engines that load images from archives; sourced after lib.sh,
# not run.
# shellcheck shell=sh

# image_archive NAME FOLDER CONFIG FILE - an image of one layer as "docker save" writes it;
# CONFIG is the JSON object of what a container of it runs
image_archive() {
	i=$(mktemp -d "$WORK/image.XXXXXX")
	tar -C "$2" -cf "$i/layer.tar" .
	jq -nc --arg diff "sha256:$(sha256sum "$i/layer.tar" | cut -d' ' -f1)" --argjson config "$3" \
		'{architecture: "amd64", os: "linux", config: $config,
		  rootfs: {type: "layers", diff_ids: [$diff]}}' > "$i/config.json"
	jq -nc --arg name "$1" \
		'[{Config: "config.json", RepoTags: [$name], Layers: ["layer.tar"]}]' > "$i/manifest.json"
	tar -C "$i" -cf "$4" manifest.json config.json layer.tar
	rm -r "$i"
}
