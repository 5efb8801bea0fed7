# shellcheck shell=bash disable=SC2154 # firmware/test's, which runs this
# A kernel image that db.key signed, with another PCR key's measurement: it starts, and the state does not open.

# All else is the box's own: the firmware lets it start, PCR 7 is as it was, the root is the same. What keeps the state shut is PCR 11.
scenario() {
  local changed=$here/changed
  needs_secure_boot || return 0
  box_as_kept
  rm -rf "$changed"
  mkdir "$changed"
  cp -r "$images/keys" "$changed/keys"
  openssl genrsa -out "$changed/keys/pcr.key" 2048 2>/dev/null
  openssl rsa -in "$changed/keys/pcr.key" -pubout -out "$changed/keys/pcr.pub" 2>/dev/null
  (make_changed_kernel "$changed")
  put_kernel "$changed/hallmark_changed.efi"
  start_machine changed-image
  refuses changed-image "hallmark: the state partition does not open" "a kernel image with another PCR key's measurement"
  rm -rf "$changed"
}

# make_changed_kernel FOLDER: of the image's kernel, initrd and root, with the keys in FOLDER. In a shell of its own, for what it reads.
make_changed_kernel() {
  # shellcheck disable=SC2034 # pack.sh's
  local console=serial
  # shellcheck source=firmware/image/pack.sh
  source "$root/firmware/image/pack.sh"
  SOURCE_DATE_EPOCH=$(stat -c %Y "$images/vmlinuz")
  export SOURCE_DATE_EPOCH
  cp "$images"/{initrd,roothash} "$1/"
  make_kernel_image "$1" "$1/keys" "$images/vmlinuz" "$images/os-release" changed
}
