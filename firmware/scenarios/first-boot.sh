# shellcheck shell=bash disable=SC2154 # firmware/test's, which runs this
# From the image and a stick to the first signature, and off.

scenario() {
  local files algorithm
  make_set_up
  make_stick
  make_disk_of "${disk_images[0]}"
  start_machine first
  wait_for "hallmark: set up" "$boot_seconds"
  printf 'set up after %d s\n' $((SECONDS - started))
  wait_for "hallmark: signing" "$boot_seconds"
  printf 'signerd serves after %d s\n' $((SECONDS - started))
  take_certificate
  for files in operator officer2; do
    ctl operator enroll --as "$files" --secret-out "$set_up/secrets/$files.totp" >/dev/null
  done
  ctl domain add "$domain" >/dev/null
  for algorithm in rsa2048 ed25519; do
    ctl key generate "$domain" --algorithm $algorithm --activate >/dev/null
  done
  ctl dns show "$domain" --format keyfile >"$here/keys"
  signs_as_before first
  signatures_on_ledger >"$here/signatures"
  stop_machine
  keep_box
}
