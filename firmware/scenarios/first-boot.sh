# shellcheck shell=bash disable=SC2154 # firmware/test's, which runs this
# From the image and a stick to the first signature, and off.

scenario() {
  make_set_up
  make_stick
  make_disk_of "${disk_images[0]}"
  start_machine first
  wait_for "hallmark: set up" "$boot_seconds"
  printf 'set up after %d s\n' $((SECONDS - started))
  wait_for "hallmark: signing" "$boot_seconds"
  printf 'signerd serves after %d s\n' $((SECONDS - started))
  wait_for 'hallmark: signing; up for [1-9]' "$boot_seconds"
  take_certificate
  wait_for "_domainkey.example.net. 3600 IN TXT" "$boot_seconds"
  printf 'DNS records on the console after %d s\n' $((SECONDS - started))
  make_keys_of_box
  signs_as_before first
  health_is_known
  signatures_on_ledger >"$here/signatures"
  stop_machine
  keep_box
}

# What the box itself can tell in QEMU: its clock, as chronyd says, which reaches no time server there, and its watchdog.
health_is_known() {
  local deadline=$((SECONDS + boot_seconds))
  until ctl status >"$here/status" && grep -q '^clock  *warning  *not synchronised: no time server' "$here/status" && grep -q '^watchdog  *ok' "$here/status"; do
    ((SECONDS < deadline)) || fail "the box does not know how its clock and its watchdog are" "see $here/status"
    sleep 1
  done
}
