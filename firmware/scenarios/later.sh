# shellcheck shell=bash disable=SC2154 # firmware/test's, which runs this
# A later configuration: not taken while the version that runs is on trial, and taken at the start after it has shown that it signs.

scenario() {
  needs_secure_boot || return 0 # The loader counts tries, and QEMU's way does without it.
  box_as_kept
  put_later_configuration
  put_on_trial
  start_machine later-trial
  wait_for "not taken: version .* has not shown yet that it signs" "$boot_seconds"
  wait_for "update: version .* signs, and stays" "$boot_seconds"
  signs_as_before later-trial
  stop_machine
  start_machine later
  wait_for "revision 2 of the configuration was taken from the stick" "$boot_seconds"
  printf 'taken after %d s\n' $((SECONDS - started))
  signs_as_before later
  stop_machine
}

put_later_configuration() {
  make_configuration "$here/later"
  sed -i 's/^format = 1$/&\nrevision = 2/' "$here/later/box.toml"
  pack "$here/later" "$here/later.hallmark"
  mcopy -n -o -i "$here/stick.img" "$here/later.hallmark" ::/box.hallmark
}

# As an update leaves its kernel image: with three tries.
put_on_trial() {
  local name
  name=$(basename "$images"/hallmark_*.efi .efi)
  take_esp
  mren -i "$here/esp" "::/EFI/Linux/$name.efi" "::/EFI/Linux/$name+3.efi"
  put_esp
}
