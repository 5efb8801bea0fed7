# shellcheck shell=bash
# What tools/check and tools/quickstart share.

me=$(basename "$0")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
step=0
servers_before=$root/build/servers-before # there while packages are installed: what started with this machine before

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
  local group package command missing=() failed=""
  while read -r group package command; do
    [[ " $* " == *" $group "* ]] || continue
    [[ $package != */* || ${package#*/} == $(dpkg --print-architecture) ]] || continue
    package=${package%/*}
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] && continue
    [[ -n $command ]] && command -v "$command" >/dev/null && continue
    missing+=("$package")
  done <"$root/tools/packages"
  if [[ -e $servers_before ]] && ((EUID == 0)); then # an installation was interrupted
    disable_servers
    ! is_our_policy || rm -f /usr/sbin/policy-rc.d
  fi
  [[ ${#missing[@]} -gt 0 ]] || return 0
  ((EUID == 0)) || fail "packages are missing (${missing[*]})" "run this as root once: it installs them, and leaves their servers disabled"
  printf 'installing %d packages: %s\n' "${#missing[@]}" "${missing[*]}"

  # In a shell of its own, which takes its policy away at its end, whatever traps the caller sets.
  (
    start_no_servers
    apt-get -q update || fail "apt-get update failed" "see the lines above; a Debian mirror must be reachable"
    { mkdir -p "$root/build" && enabled_servers >"$servers_before.new" && mv "$servers_before.new" "$servers_before"; } ||
      fail "which servers start with this machine cannot be noted" "see the line above"
    DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends --no-remove install "${missing[@]}" || failed=yes
    disable_servers # of those, too, that came before it failed
    [[ -z $failed ]] || not_installed "${missing[@]}"
  ) || exit 1
}

# The links by which they start, one a line: of systemd's services and sockets, and of SysV's scripts.
enabled_servers() {
  local units=/etc/systemd/system
  {
    [[ ! -d $units ]] || find "$units" -type l \( -name '*.service' -o -name '*.socket' \)
    compgen -G "/etc/rc[2-5].d/S[0-9][0-9]*" || true
  } | sort
}

# What starts with this machine since the file was written, which goes when that is done. systemd's own stays: a machine may start by it.
# Links are removed here, for which systemd need not be there; when a package is upgraded a missing link counts as the administrator's wish.
disable_servers() {
  local link unit own disabled=() failed=()
  own=" $(dpkg-query -L systemd 2>/dev/null | sed -nE 's#^.*/systemd/system/([^/]+)$#\1#p' | xargs) " || true
  while read -r link; do
    unit=$(basename "$(readlink "$link")") # "getty@.service" of getty@tty1.service
    if [[ $link == */rc[2-5].d/S* ]]; then
      unit=${link##*/S[0-9][0-9]}
      [[ -L $link || -e $link ]] || continue # with one of its other links
      update-rc.d "$unit" disable </dev/null || failed+=("$unit")
    elif [[ $own == *" $unit "* || $unit == null ]]; then # null: it must not start
      continue
    else
      rm -f "$link" || failed+=("$unit")
    fi
    disabled+=("$unit")
  done < <(comm -13 "$servers_before" <(enabled_servers))
  [[ ${#failed[@]} == 0 ]] || fail "would start with this machine: ${failed[*]}" "see the lines above, and run this again"
  rm -f "$servers_before"
  [[ ${#disabled[@]} == 0 ]] || printf 'disabled: %s\n' "$(printf '%s\n' "${disabled[@]}" | sort -u | xargs)"
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
  local policy=/usr/sbin/policy-rc.d answer=0
  if [[ -e $policy ]] && ! is_our_policy; then
    "$policy" hallmark start >/dev/null 2>&1 || answer=$?
    ((answer == 101)) || fail "$policy lets servers start that come with packages" "have it exit with 101, or move it away, and run this again"
    return
  fi
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  { printf '#!/bin/sh\n# Hallmark: while packages are installed.\nexit 101\n' >"$policy" && chmod 755 "$policy"; } ||
    fail "$policy cannot be written" "see the line above"
}

# Of a run that was killed.
is_our_policy() {
  grep -qs '^# Hallmark: ' /usr/sbin/policy-rc.d
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
