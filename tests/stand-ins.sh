#!/usr/bin/env bash
# Makes stand-ins for base images where none can be pulled: Debian by debootstrap, and in it what this machine's own
# package registries and toolchain give.
#
#   tests/stand-ins.sh IMAGE...            rust:…, node:MAJOR…, nats:…, for those that the engine does not have
#   tests/stand-ins.sh --remove IMAGE...   take the names away again, from stand-ins only; the layers stay as a cache
#
# Needs root, debootstrap, npm, cargo, and nats-server as NATS_SERVER or on the PATH.
set -euo pipefail

suite=bookworm
cache=packline-stand-in
mark=packline.stand-in
bundle=/etc/ssl/certs/ca-certificates.crt
# The one builder that needs nothing but the engine.
export DOCKER_BUILDKIT=0

is_there() { docker image inspect "$1" >/dev/null 2>&1; }
is_ours() { [ -n "$(docker image inspect --format "{{ index .Config.Labels \"$mark\" }}" "$1" 2>/dev/null)" ]; }

if [ "${1-}" = --remove ]; then
  shift
  for image in "$@"; do
    ! is_ours "$image" || docker rmi "$image" >/dev/null
  done
  exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What is written so that a stand-in reaches the same registries as this machine, by the same ways.
configure() {
  local root=$1
  mkdir -p "$root/usr/local/cargo" "$root/usr/local/etc"
  cp -L "$bundle" "$root$bundle"
  apt-config dump Acquire >"$root/etc/apt/apt.conf.d/90host"
  cp "${CARGO_HOME:-${HOME:-/root}/.cargo}/config.toml" "$root/usr/local/cargo/" 2>/dev/null || true
  echo "registry=$(npm config get registry)" >"$root/usr/local/etc/npmrc"
}

debian() {
  local mirror
  apt-get update >/dev/null 2>&1 || true
  mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' \
    | awk -v suite=$suite '$1 == suite && $2 == "main" && !found { print $3; found = 1 }')
  debootstrap --variant=minbase --include=ca-certificates $suite "$work/root" ${mirror:+"$mirror"} >"$work/log" \
    || { tail -n 20 "$work/log" >&2; return 1; }
  rm -rf "$work/root/var/cache/apt/archives"/*.deb "$work/root/var/lib/apt/lists"/*
  configure "$work/root"
  tar -C "$work/root" -c . | docker import \
    --change "LABEL $mark=debian" --change "ENV SSL_CERT_FILE=$bundle" --change "ENV NODE_EXTRA_CA_CERTS=$bundle" \
    --change "ENV CARGO_HOME=/usr/local/cargo" --change 'CMD ["bash"]' - "$cache:debian" >/dev/null
  rm -rf "$work/root"
}

# Builds on Debian what the Dockerfile on stdin says, in the folder $work/$1.
build() {
  { echo "FROM $cache:debian"; cat; echo "LABEL $mark=$1"; } >"$work/$1/Dockerfile"
  docker build --quiet --tag "$cache:$1" "$work/$1" >/dev/null
  rm -rf "${work:?}/$1"
}

install="apt-get update && apt-get install -y --no-install-recommends"

rust() {
  local toolchain
  toolchain=$(rustc --print sysroot)
  mkdir -p "$work/rust/toolchain/bin"
  cp "$toolchain/bin/cargo" "$toolchain/bin/rustc" "$work/rust/toolchain/bin"
  cp -r "$toolchain/lib" "$work/rust/toolchain"
  build rust <<END
RUN $install gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY toolchain /usr/local
END
}

node() {
  local major=$1 machine=x64
  [ "$(uname -m)" != aarch64 ] || machine=arm64
  mkdir -p "$work/node/lib"
  npm install --prefix "$work/node" --no-save --ignore-scripts --no-audit --no-fund --loglevel=error \
    "node-linux-$machine@$major" npm@11 >/dev/null
  mv "$work/node/node_modules/node-linux-$machine/bin" "$work/node/bin"
  mv "$work/node/node_modules/npm" "$work/node/lib/npm"
  rm -rf "$work/node/node_modules"
  build node <<END
COPY bin /usr/local/bin
COPY lib /usr/local/lib/node_modules
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \\
 && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx \\
 && groupadd --gid 1000 node && useradd --uid 1000 --gid node --create-home node
END
}

nats() {
  mkdir "$work/nats"
  cp -L "${NATS_SERVER:-$(command -v nats-server)}" "$work/nats/nats-server"
  build nats <<END
RUN $install busybox && rm -rf /var/lib/apt/lists/* && ln -s busybox /usr/bin/wget
COPY nats-server /usr/local/bin/
CMD ["nats-server", "--config", "/etc/nats/nats-server.conf"]
END
}

missing=()
for image in "$@"; do
  ! is_there "$image" || continue
  missing+=("$image")
  is_there "$cache:debian" || debian
  case $image in
    rust:*) is_there "$cache:rust" || rust ;;
    node:*) major=${image#node:}; is_there "$cache:node" || node "${major%%[!0-9]*}" ;;
    nats:*) is_there "$cache:nats" || nats ;;
    *) echo "there is no stand-in for $image" >&2; exit 1 ;;
  esac
done
# Named all or none.
for image in "${missing[@]}"; do
  docker tag "$cache:${image%%:*}" "$image"
  echo "$image: a stand-in"
done
