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

# install_packages GROUP...: what tools/packages lists for the groups and is not installed. It takes nothing away, and the servers that come
# with it do not start, today or with the machine: they are tools here, and listen everywhere where nobody says otherwise.
install_packages() {
  local group package command missing=() before failed=""
  while read -r group package command; do
    [[ " $* " == *" $group "* ]] || continue
    [[ $package != */* || ${package#*/} == $(dpkg --print-architecture) ]] || continue
    package=${package%/*}
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] && continue
    [[ -n $command ]] && command -v "$command" >/dev/null && continue
    missing+=("$package")
  done <"$root/tools/packages"
  [[ ${#missing[@]} -gt 0 ]] || return 0
  ((EUID == 0)) || fail "packages are missing" "run this as root, or as root: apt-get install --no-remove ${missing[*]}"
  printf 'installing %d packages: %s\n' "${#missing[@]}" "${missing[*]}"

  # In a shell of its own, which takes its policy away at its end, whatever traps the caller sets.
  (
    start_no_servers
    before=$(packages_there)
    [[ -n $before ]] || fail "dpkg-query does not say what is installed" "see the lines above"
    apt-get -q update || fail "apt-get update failed" "see the lines above; a Debian mirror must be reachable"
    DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends --no-remove install "${missing[@]}" || failed=yes
    disable_servers "$before" # of those, too, that came before it failed
    [[ -z $failed ]] || not_installed "${missing[@]}"
  ) || exit 1
}

# Those that wait to be configured, too: they are somebody's.
packages_there() {
  # shellcheck disable=SC2016 # dpkg's fields
  dpkg-query -W -f '${db:Status-Status} ${binary:Package}\n' | sed -nE '/^(not-installed|config-files) /!s/^[^ ]+ //p' | sort
}

# disable_servers BEFORE: services and sockets of packages that are not in BEFORE, for systemd and for SysV's init. systemd itself stays as it
# is: a machine may start by it.
disable_servers() {
  local package name disabled=()
  while read -r package; do
    [[ $package != systemd ]] || continue
    while read -r name; do
      disable_unit "$name" && disabled+=("$name")
    done < <(dpkg-query -L "$package" | sed -nE 's#^.*/systemd/system/([^/]+\.(service|socket))$#\1#p')
    while read -r name; do
      disable_script "$name"
    done < <(dpkg-query -L "$package" | sed -nE 's#^/etc/init\.d/([^/]+)$#\1#p')
  done < <(comm -13 <(printf '%s\n' "$1") <(packages_there))
  [[ ${#disabled[@]} == 0 ]] || printf 'disabled, and not started: %s\n' "${disabled[*]}"
}

# Whether it was enabled. Its links are removed here, for which systemd need not be there; when a package is upgraded a missing link counts as
# the administrator's wish.
disable_unit() {
  local links=/etc/systemd/system
  [[ -d $links && -n $(find "$links" -type l -lname "*/systemd/system/$1" -print -delete) ]]
}

disable_script() {
  compgen -G "/etc/rc[2-5].d/S[0-9][0-9]$1" >/dev/null || return 0
  update-rc.d "$1" disable </dev/null || fail "$1 would start with this machine" "run as root: update-rc.d $1 disable"
}

# not_installed PACKAGE...: says why, as far as it can be told.
not_installed() {
  local others
  others=$(apt-get -q -s --no-install-recommends install "$@" 2>/dev/null | sed -nE 's/^Remv ([^ ]+).*/\1/p' | xargs)
  [[ -z $others ]] || fail "what is missing cannot be installed beside what this machine has: $others would be removed" \
    "run this in a container or on another machine; or, if you can do without that here: apt-get install --no-install-recommends $*"
  fail "apt-get install failed" "see the lines above; Hallmark builds on Debian 12"
}

# Until this shell ends: a server that comes with a package (knot) is only a tool here.
start_no_servers() {
  local policy=/usr/sbin/policy-rc.d
  [[ ! -e $policy ]] || return 0
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"; } || fail "$policy cannot be written" "see the line above"
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

# install_npm SOURCE TARGET WHAT WITHOUT: what SOURCE/package-lock.json pins, in TARGET/node_modules. Where it cannot be had a
# line says so.
install_npm() {
  local source=$1 target=$2
  if [[ -d $target/node_modules ]] && cmp -s "$source/package-lock.json" "$target/package-lock.json"; then
    return
  fi
  rm -rf "$target"
  mkdir -p "$target"
  cp "$source/package.json" "$source/package-lock.json" "$source/.npmrc" "$target"
  if ! (cd "$target" && npm ci --omit=dev --ignore-scripts --fetch-retries=1 --fetch-timeout=20000 >npm.log 2>&1); then
    rm -rf "$target/node_modules"
    printf '%s could not be installed (%s says why): %s\n' "$3" "$target/npm.log" "$4"
  fi
}

# install_mailauth BUILD-FOLDER: the one verifier that is no Debian package.
install_mailauth() {
  install_npm "$root/tests/verifiers/mailauth" "$1/mailauth" mailauth "it is left out, all other verifiers run"
}

# install_node_example BUILD-FOLDER: what the relays' example for Node needs.
install_node_example() {
  install_npm "$root/tools/relay-client/examples/node" "$1/examples/node" "gRPC for Node" "its example is not tried"
}

# install_exim BUILD-FOLDER: Exim, which Debian does not let in beside Postfix: its package is unpacked and nothing more.
install_exim() {
  local target=$1/exim
  [[ ! -x $target/usr/sbin/exim4 ]] || return 0
  mkdir -p "$target"
  if ! (cd "$target" && apt-get -q download exim4-daemon-light >apt.log 2>&1 && dpkg-deb -x exim4-daemon-light_*.deb .); then
    printf 'Exim could not be had (%s says why): the recipe for it is not tried\n' "$target/apt.log"
  fi
}
