# shellcheck shell=bash disable=SC2154 # $image, $out and what is added are firmware/build's
# The root file system: Debian packages and ours, without what a signer has no use for. Part of firmware/build.

# Reads a list: one entry a line, "#" comments.
entries() {
  sed -e 's/#.*//' -e '/^\s*$/d' "$1"
}

# debian_sources MIRROR SECURITY-MIRROR: apt's sources, each where it is empty Debian's own. Whoever gives mmdebstrap nothing but a mirror's
# address gets the release without its updates.
debian_sources() {
  local mirror=${1:-http://deb.debian.org/debian} security=${2:-http://security.debian.org/debian-security}
  printf 'deb %s %s main\n' "$mirror" bookworm "$mirror" bookworm-updates "$security" bookworm-security
}

# inputs_of_rootfs PACKAGES-FOLDER SOURCES: changes when the root file system would.
inputs_of_rootfs() {
  {
    printf '%s\n' "$2" "$SOURCE_DATE_EPOCH"
    cat "$1"/hallmark-{signerd,tools}_*.deb "${added[@]}"
    cat "$image"/{packages,removed,dropped,rootfs.sh}
  } | sha256sum | cut -d ' ' -f 1
}

# make_rootfs PACKAGES-FOLDER SOURCES TARGET: a folder with the Debian packages unpacked and set up, and the kernel's beside it
# in TARGET.kernel, and dpkg's status in TARGET.status. Owned by root, so it takes root.
make_rootfs() {
  local packages=$1 target=$3 list suites
  mapfile -t suites <<<"$2"
  list=$({
    entries "$image/packages"
    printf '%s\n' "${added_names[@]}"
  } | sed '/^$/d' | paste -sd,)
  rm -rf "$target" "$target".{kernel,status,repository}
  mkdir -p "$target.kernel" "$target.repository"
  cp "$packages"/hallmark-{signerd,tools}_*.deb "${added[@]}" "$target.repository"
  (cd "$target.repository" && dpkg-scanpackages -m . >Packages 2>/dev/null)

  # Without the hook the merged /usr comes from a program in Perl that would stay.
  # shellcheck disable=SC2016 # the hooks' own variables
  mmdebstrap --mode=root --variant=essential --include="$list" --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/bash-completion/*' \
    --setup-hook="echo 'deb [trusted=yes] copy:$target.repository ./' >\"\$1/etc/apt/sources.list.d/hallmark.list\"" \
    --customize-hook="cd '$target.kernel' && export APT_CONFIG=\"\$MMDEBSTRAP_APT_CONFIG\" &&
      apt-get -q download \$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p')" \
    --customize-hook='cp "$1/var/lib/dpkg/status" '"'$target.status'" \
    bookworm "$target" "${suites[@]}" >"$out/mmdebstrap.log" 2>&1 ||
    fail "mmdebstrap failed" "see $out/mmdebstrap.log; the mirrors must be reachable (--mirror, --security-mirror)"
  rm -rf "$target.repository"

  unpack_kernel "$target"
  drop_unused "$target"
}

# The kernel package is unpacked, not installed: it would bring what makes an initrd, and we make our own.
unpack_kernel() {
  local target=$1 folder
  dpkg-deb -x "$target".kernel/linux-image-*.deb "$target.kernel/files"
  for folder in $(entries "$image/dropped"); do
    rm -rf "$target".kernel/files/lib/modules/*/"$folder"
  done
  mkdir -p "$target/usr/lib/modules"
  mv "$target".kernel/files/lib/modules/* "$target/usr/lib/modules/"
  mv "$target".kernel/files/boot/vmlinuz-* "$target.kernel/vmlinuz"
  dpkg-deb -f "$target".kernel/linux-image-*.deb >"$target.kernel/control"
  rm -rf "$target.kernel/files"
  depmod -b "$target" "$(ls "$target/usr/lib/modules")"
}

# What served the installation goes, out of dpkg's status too; so does /var: it is on the state partition, where systemd-tmpfiles makes
# what is missing.
drop_unused() {
  local target=${1:?} package file
  for package in $(entries "$image/removed"); do
    cat "$target/var/lib/dpkg/info/$package".list "$target/var/lib/dpkg/info/$package":*.list 2>/dev/null || true
    sed -i "/^Package: $package\$/,/^\$/d" "$target.status"
  done | while read -r file; do
    # A folder may be a link of the merged /usr: /bin.
    [[ -d $target$file ]] || rm -f "$target$file"
  done
  find "$target/var" -mindepth 1 -delete
  rm -rf "$target"/boot/* "$target"/etc/{apt,initramfs,kernel,machine-id,hostname,resolv.conf,mtab,cron.d,cron.daily,init.d,rc?.d,skel} \
    "$target"/etc/{*-,.*.bak} "$target"/usr/share/{doc,man,info,lintian,bash-completion,zsh,perl5,debconf,dpkg}
}
