# shellcheck shell=bash disable=SC2154 # $image, $owner_ca and $console are firmware/build's
# From the root file system to the disk: overlay, squashfs, dm-verity, initrd, unified kernel image, partitions. Part of
# firmware/build. What is made is the same for the same input, but for the signatures: those are as the keys are.

# Fixed, for the same bytes every time. The disk's and the partitions' UUIDs name a role, not a box.
readonly disk_uuid=2f6d1a0e-5c0b-4f43-9a63-68616c6c6d6b
readonly esp_uuid=8d1f2b6c-7f1e-4a55-8a10-68616c6c6d6b
readonly verity_uuid=5b8e0c1d-3a49-4d0c-b0f5-68616c6c6d6b
readonly verity_salt=0000000000000000000000000000000000000000000000000000000000000000
readonly esp_mib=128 root_mib=512 tree_mib=8

# add_overlay ROOTFS VERSION KEYS: our files, whose updates it takes, and who may do what on the console (nobody).
add_overlay() {
  local rootfs=$1 version=$2 keys=$3 unit folder
  cp -r --no-preserve=ownership,timestamps "$image/tree/." "$image/../update/tree/." "$rootfs/"
  install -m 644 "$keys/update.crt" "$rootfs/etc/rauc/update.crt"
  install -m 644 "$keys/db.crt" "$rootfs/etc/rauc/kernel.crt"
  mkdir -p "$rootfs/efi"
  chmod 755 "$rootfs"/usr/libexec/hallmark/*
  # shellcheck disable=SC2154 # forbidden.sh's
  for unit in $login_units systemd-firstboot.service ldconfig.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-pcrphase.service systemd-pcrphase-sysinit.service systemd-repart.service \
    systemd-boot-system-token.service systemd-boot-update.service smartmontools.service \
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount dev-hugepages.mount dev-mqueue.mount \
    proc-sys-fs-binfmt_misc.automount systemd-binfmt.service systemd-update-utmp.service systemd-update-utmp-runlevel.service \
    systemd-ask-password-console.path systemd-ask-password-wall.path systemd-initctl.socket systemd-fsckd.socket; do
    ln -sf /dev/null "$rootfs/etc/systemd/system/$unit"
  done
  for unit in hallmark-settle hallmark-provision hallmark-records hallmark-signerd hallmark-health hallmark-console; do
    mkdir -p "$rootfs/etc/systemd/system/multi-user.target.wants"
    folder=/lib/systemd/system
    [[ ! -e $rootfs/etc/systemd/system/$unit.service ]] || folder=/etc/systemd/system
    ln -sf "$folder/$unit.service" "$rootfs/etc/systemd/system/multi-user.target.wants/"
  done
  systemctl --root="$rootfs" enable chrony.service hallmark-time-sources.{path,service} hallmark-reset.path hallmark-push.socket systemd-networkd.service systemd-resolved.service hallmark-boot-check.service >/dev/null 2>&1
  mkdir -p "$rootfs/usr/share/hallmark"
  rm -f "$rootfs/usr/share/hallmark/owner-ca.pem"
  [[ -z $owner_ca ]] || install -m 644 "$owner_ca" "$rootfs/usr/share/hallmark/owner-ca.pem"
  [[ -L $rootfs/etc/hallmark ]] || {
    mv "$rootfs"/etc/hallmark/softhsm2.conf "$rootfs/usr/share/hallmark/"
    rm -rf "$rootfs/etc/hallmark"
    ln -s /var/lib/hallmark-config "$rootfs/etc/hallmark"
  }
  ln -sf /lib/systemd/system/multi-user.target "$rootfs/etc/systemd/system/default.target"
  : >"$rootfs/etc/machine-id"
  echo hallmark >"$rootfs/etc/hostname"
  ln -sf /run/systemd/resolve/resolv.conf "$rootfs/etc/resolv.conf"
  ln -sf /proc/self/mounts "$rootfs/etc/mtab"
  sed -i '/^IMAGE_/d' "$rootfs/usr/lib/os-release"
  printf 'IMAGE_ID=hallmark\nIMAGE_VERSION=%s\n' "$version" >>"$rootfs/usr/lib/os-release"
}

# make_root ROOTFS TARGET: TARGET/root.squashfs, its hash tree and TARGET/roothash.
make_root() {
  local rootfs=$1 target=$2
  rm -f "$target"/root.{squashfs,verity}
  # mksquashfs would date the files by SOURCE_DATE_EPOCH, and refuses to be told twice.
  mksquashfs "$rootfs" "$target/root.squashfs" -comp zstd -Xcompression-level 15 -noappend -quiet -no-progress -no-xattrs \
    -processors "$(nproc)" >"$target/mksquashfs.log" 2>&1 || fail "mksquashfs failed" "see $target/mksquashfs.log"
  veritysetup format "$target/root.squashfs" "$target/root.verity" --salt=$verity_salt --uuid=$verity_uuid |
    sed -n 's/^Root hash:[[:space:]]*//p' >"$target/roothash"
  [[ $(wc -c <"$target/roothash") == 65 ]] || fail "veritysetup gave no root hash" "see the lines above"
}

# copy_program ROOTFS TREE FILE: a program of the root file system with its libraries.
copy_program() {
  local rootfs=$1 tree=$2 file libraries
  libraries=$(chroot "$rootfs" /lib64/ld-linux-x86-64.so.2 --list "$3" | grep -o '/[^ ]*') || fail "$3 has no libraries" "look into $rootfs"
  for file in "$3" $libraries; do
    mkdir -p "$tree/$(dirname "$file")"
    [[ -e $tree/$file ]] || cp -L "$rootfs/$file" "$tree/$file"
  done
}

# make_initrd ROOTFS TARGET: TARGET/initrd, of the root's own programs and modules.
make_initrd() {
  local rootfs=$1 target=$2 tree=$2/initrd.tree version program module
  version=$(ls "$rootfs/usr/lib/modules")
  rm -rf "$tree"
  mkdir -p "$tree"/{dev,proc,sys,run,root,tmp,usr/bin,usr/sbin,usr/lib,usr/lib64}
  for program in bin sbin lib lib64; do ln -s "usr/$program" "$tree/$program"; done
  for program in /bin/{sh,cat,cp,cut,find,grep,kmod,mkdir,mount,readlink,sed,sha256sum,sleep,sort,xargs} /sbin/{blkid,veritysetup,switch_root}; do
    copy_program "$rootfs" "$tree" "$(chroot "$rootfs" sh -c "command -v ${program##*/}")"
  done
  ln -sf ../bin/kmod "$tree/usr/sbin/modprobe"
  for module in $(entries "$image/modules"); do
    modprobe -d "$rootfs" -S "$version" --show-depends "$module" | sed -n 's/^insmod //p'
  done | sort -u | while read -r module; do
    module=/usr/lib/modules/${module#*/lib/modules/}
    mkdir -p "$tree/$(dirname "$module")"
    cp "$rootfs$module" "$tree$module"
  done
  cp "$rootfs/usr/lib/modules/$version"/modules.{order,builtin,builtin.modinfo} "$tree/usr/lib/modules/$version/"
  depmod -b "$tree" "$version"
  install -m 755 "$image/init" "$tree/init"
  find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
  (cd "$tree" && find . -print0 | LC_ALL=C sort -z | cpio --null --create --format=newc --reproducible --owner=+0:+0 --quiet) |
    zstd -q -19 -T1 >"$target/initrd"
  rm -rf "$tree"
}

# make_kernel_image TARGET KEYS VMLINUZ OS-RELEASE VERSION: TARGET/hallmark.efi, the kernel with its initrd and command line, signed;
# in it a signature of what PCR 11 will be, for the TPM.
make_kernel_image() {
  local target=$1 keys=$2 kernel=$3 release=$4 version=$5
  local stub=/usr/lib/systemd/boot/efi/linuxx64.efi.stub
  command_line "$(cat "$target/roothash")" "$console" >"$target/cmdline"
  cp "$release" "$target/os-release"
  sign_measurement "$target" "$keys" "$kernel"
  as_of_commit objcopy \
    --add-section .osrel="$target/os-release" --change-section-vma .osrel=0x20000 \
    --add-section .cmdline="$target/cmdline" --change-section-vma .cmdline=0x30000 \
    --add-section .pcrpkey="$keys/pcr.pub" --change-section-vma .pcrpkey=0x40000 \
    --add-section .pcrsig="$target/pcr.json" --change-section-vma .pcrsig=0x50000 \
    --add-section .linux="$kernel" --change-section-vma .linux=0x2000000 \
    --add-section .initrd="$target/initrd" --change-section-vma .initrd=0x4000000 \
    $stub "$target/unsigned.efi"
  sign_program "$keys" "$target/unsigned.efi" "$target/hallmark_$version.efi"
  sign_program "$keys" /usr/lib/systemd/boot/efi/systemd-bootx64.efi "$target/boot.efi"
}

# command_line ROOTHASH serial|screen: the kernel's, which is signed with it.
#   systemd.import_credentials=no: process 1 would take credentials from SMBIOS and fw_cfg, which whoever has the machine or its hypervisor
#     can set and no PCR that we seal to has in it. tmpfiles.extra is one of them: any file as root.
#   fsck.repair=yes: a state that needs more than the safe repairs waits for an answer to each question, and nobody can give one.
#   gpt: a power cut between the entries and the header of the first partition table leaves a wrong sum there; the kernel then takes the
#     second table, at the disk's end, if it is told so.
#   no_timer_check: the kernel's look at the timer's interrupt fails under emulation on a busy machine, and it hangs.
command_line() {
  printf 'roothash=%s panic=10 systemd.gpt_auto=0 systemd.verity=0 systemd.import_credentials=no fsck.repair=yes gpt no_timer_check loglevel=4 %s' "$1" "$(console_options "$2")"
}

# console_options serial|screen: /dev/console is the last one that there is. The kernel speaks on both.
console_options() {
  case $1 in
    serial) printf 'console=tty0 console=ttyS0,115200' ;;
    screen) printf 'console=ttyS0,115200 console=tty0' ;;
  esac
}

# sign_program KEYS FROM TO. sbsign writes the time into its signature: the commit's, to be the same again.
sign_program() {
  as_of_commit sbsign --key "$1/db.key" --cert "$1/db.crt" --output "$3" "$2" >/dev/null 2>&1 || fail "sbsign failed for $2" "look at $1/db.key and db.crt"
}

# sign_measurement TARGET KEYS KERNEL: TARGET/pcr.json. systemd-measure has a TPM work the policy out, so it gets one for a moment.
sign_measurement() {
  local target=$1 keys=$2 kernel=$3 tpm pid
  tpm=$(mktemp -d)
  swtpm socket --tpm2 --tpmstate dir="$tpm" --server type=unixio,path="$tpm/socket" --ctrl type=unixio,path="$tpm/socket.ctrl" \
    --flags not-need-init,startup-clear >"$target/swtpm.log" 2>&1 </dev/null &
  pid=$!
  until [[ -S $tpm/socket ]]; do
    kill -0 $pid 2>/dev/null || fail "swtpm did not start" "see $target/swtpm.log"
    sleep 0.05
  done
  # The phase is empty: nothing but the stub extends PCR 11 here.
  /lib/systemd/systemd-measure sign --json=short --linux="$kernel" --initrd="$target/initrd" --cmdline="$target/cmdline" \
    --osrel="$target/os-release" --pcrpkey="$keys/pcr.pub" --bank=sha256 --phase= --tpm2-device="swtpm:path=$tpm/socket" \
    --private-key="$keys/pcr.key" --public-key="$keys/pcr.pub" >"$target/pcr.json" 2>"$target/measure.log" || true
  kill $pid 2>/dev/null || true
  wait $pid 2>/dev/null || true
  rm -rf "$tpm"
  [[ -s $target/pcr.json ]] || fail "systemd-measure failed" "see $target/measure.log"
}

# make_disk TARGET KEYS VERSION: TARGET/hallmark_VERSION.raw. What is behind slot B is for the state, which the first boot makes.
make_disk() {
  local target=$1 keys=$2 version=$3 esp disk hash
  esp=$target/esp.vfat disk=$target/hallmark_$version.raw hash=$(cat "$target/roothash")
  make_esp "$target" "$keys" "$version" "$esp"
  rm -f "$disk"
  truncate -s $((esp_mib + 2 * (root_mib + tree_mib) + 4))M "$disk"
  local at=1
  set -- -o --disk-guid=$disk_uuid
  set -- "$@" -n "1:${at}M:+${esp_mib}M" -t 1:EF00 -c 1:hallmark-esp -u "1:$esp_uuid"
  at=$((at + esp_mib))
  set -- "$@" -n "2:${at}M:+${root_mib}M" -t 2:8304 -c 2:hallmark-root-a -u "2:$(as_uuid "${hash:0:32}")"
  at=$((at + root_mib))
  set -- "$@" -n "3:${at}M:+${tree_mib}M" -t 3:8318 -c 3:hallmark-tree-a -u "3:$(as_uuid "${hash:32}")"
  at=$((at + tree_mib))
  set -- "$@" -n "4:${at}M:+${root_mib}M" -t 4:8304 -c 4:hallmark-root-b -u "4:${esp_uuid/8d1f2b6c/8d1f2b6d}"
  at=$((at + root_mib))
  set -- "$@" -n "5:${at}M:+${tree_mib}M" -t 5:8318 -c 5:hallmark-tree-b -u "5:${esp_uuid/8d1f2b6c/8d1f2b6e}"
  sgdisk "$@" "$disk" >"$target/sgdisk.log" 2>&1 || fail "sgdisk failed" "see $target/sgdisk.log"
  dd if="$esp" of="$disk" bs=1M seek=1 conv=notrunc,sparse status=none
  dd if="$target/root.squashfs" of="$disk" bs=1M seek=$((1 + esp_mib)) conv=notrunc,sparse status=none
  dd if="$target/root.verity" of="$disk" bs=1M seek=$((1 + esp_mib + root_mib)) conv=notrunc,sparse status=none
  rm -f "$esp"
}

# make_esp TARGET KEYS VERSION FILE: the loader, the kernel image, and the box's keys, which the loader enrols where the firmware is
# in its set-up mode. Files go in in a fixed order, as of a fixed time.
make_esp() {
  local target=$1 keys=$2 version=$3 esp=$4 name
  rm -f "$esp"
  truncate -s ${esp_mib}M "$esp"
  mkfs.vfat -F 32 -n ESP -i 48414c4c --invariant "$esp" >/dev/null
  printf 'timeout 0\neditor no\nsecure-boot-enroll force\n' >"$target/loader.conf"
  as_of_commit mmd -i "$esp" ::/EFI ::/EFI/BOOT ::/EFI/Linux ::/loader ::/loader/keys ::/loader/keys/auto
  as_of_commit mcopy -i "$esp" "$target/boot.efi" ::/EFI/BOOT/BOOTX64.EFI
  as_of_commit mcopy -i "$esp" "$target/hallmark_$version.efi" ::/EFI/Linux/ ||
    fail "the EFI partition is too small" "raise esp_mib in firmware/image/pack.sh"
  as_of_commit mcopy -i "$esp" "$target/loader.conf" ::/loader/
  for name in PK KEK db; do
    as_of_commit mcopy -i "$esp" "$keys/$name.auth" ::/loader/keys/auto/
  done
  rm -f "$target/loader.conf"
}

# as_of_commit COMMAND...: with the clock standing at the commit's time.
as_of_commit() {
  faketime -f "$(date -d "@$SOURCE_DATE_EPOCH" '+%Y-%m-%d %H:%M:%S')" "$@"
}

as_uuid() {
  sed -E 's/^(.{8})(.{4})(.{4})(.{4})(.{12})$/\1-\2-\3-\4-\5/' <<<"$1"
}
