# shellcheck shell=bash
# What tools/check and tools/quickstart share.

me=$(basename "$0")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
step=0

# Progress: one line a step.
say() {
  step=$((step + 1))
  printf '\n== %s: %d. %s\n' "$me" "$step" "$*"
}

# fail WHAT WHAT-TO-DO: one line, and the end.
fail() {
  printf '%s: %s; %s\n' "$me" "$1" "$2" >&2
  exit 1
}

# install_packages GROUP...: what tools/packages lists for the groups and is not installed.
install_packages() {
  local group package command missing=()
  while read -r group package command; do
    [[ " $* " == *" $group "* ]] || continue
    [[ $package != */* || ${package#*/} == $(dpkg --print-architecture) ]] || continue
    package=${package%/*}
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] && continue
    [[ -n $command ]] && command -v "$command" >/dev/null && continue
    missing+=("$package")
  done <"$root/tools/packages"
  [[ ${#missing[@]} -gt 0 ]] || return 0
  ((EUID == 0)) || fail "packages are missing" "run as root: apt-get install ${missing[*]}"
  printf 'installing %d packages: %s\n' "${#missing[@]}" "${missing[*]}"

  # A server that comes with a package (knot) is only a tool here and is not to be started.
  local policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  apt-get -q update || fail "apt-get update failed" "see the lines above; a Debian mirror must be reachable"
  DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "${missing[@]}" ||
    fail "apt-get install failed" "see the lines above; Hallmark builds on Debian 12"
}

# build PRESET [TARGET...]
build() {
  local preset=$1
  shift
  (cd "$root" && cmake --preset "$preset" --log-level=WARNING) ||
    fail "configuring failed" "see the lines above; if the tree was moved, remove its build folder and repeat"
  (cd "$root" && cmake --build --preset "$preset" ${@:+--target "$@"}) ||
    fail "the build failed" "the first error above says where"
}

# install_mailauth BUILD-FOLDER: the one verifier that is no Debian package. The lock file pins it and all that it needs.
install_mailauth() {
  local source=$root/tests/verifiers/mailauth target=$1/mailauth
  if [[ -d $target/node_modules/mailauth ]] && cmp -s "$source/package-lock.json" "$target/package-lock.json"; then
    return
  fi
  rm -rf "$target"
  mkdir -p "$target"
  cp "$source/package.json" "$source/package-lock.json" "$source/.npmrc" "$target"
  if ! (cd "$target" && npm ci --omit=dev --ignore-scripts --fetch-retries=1 --fetch-timeout=20000 >npm.log 2>&1); then
    rm -rf "$target/node_modules"
    printf 'mailauth could not be installed (%s says why): it is left out, all other verifiers run\n' "$target/npm.log"
  fi
}
