# shellcheck shell=bash disable=SC2034,SC2154 # firmware/test's, which runs this
# A box that starts without a stick: one that is put in names an HSM that is not there, and is refused; a push is taken.

# A box of its own, in a folder of its own. Its hallmark.toml has the lines that the packaged one offers for DNSSEC: the anchor that
# they name has to be on the image, too.
scenario() {
  local here=$here/pushed
  local set_up=$here/set-up
  make_set_up
  make_stick "" '/^#\[dns\]/,/^#trust_anchor/s/^#//'
  grep -q '^trust_anchor = "/usr/share/dns/root.ds"' "$here/box/hallmark.toml" || fail "no anchor is named" "see $here/box/hallmark.toml"
  mv "$here/stick.img" "$here/late.img"
  make_disk_of "${disk_images[0]}"
  start_machine pushed
  wait_for "hallmark:   fingerprint " "$boot_seconds"
  module_is_tried
  push_is_taken
  wait_for "Closed .*hallmark-push" "$boot_seconds"
  wait_for 'hallmark: signing; up for [1-9]' "$boot_seconds"
  make_keys_of_box
  signs_as_before pushed
  stop_machine
}

# SoftHSM in the place of a vendor's module; that it says so of its token shows that it had its variable and its file, and could run. It has no use
# for the device and the group: those show that its unit takes them.
module_is_tried() {
  make_configuration "$here/module" $'[token]\nkind = "module"\nmodule = "/usr/lib/softhsm/libsofthsm2.so"\nlabel = "vendor 1"\nenvironment = { SOFTHSM2_CONF = "/etc/hallmark/vendor.conf" }\ndevices = ["char-usb_device"]\ngroups = ["plugdev"]'
  sed -i 's/^files = \[/&"vendor.conf", /' "$here/module/box.toml"
  printf 'directories.tokendir = /tmp\n' >"$here/module/vendor.conf"
  pack "$here/module" "$here/module.hallmark"
  mcopy -o -i "$here/late.img" "$here/module.hallmark" ::/box.hallmark
  put_in late "$here/late.img"
  wait_for "hallmark: type the PIN of the token vendor 1" "$boot_seconds"
  type_at_console 123456
  wait_for "not set up: tokend: the module has no token that pkcs11:token=vendor%201 names" "$boot_seconds"
  printf 'the module was loaded, and the token missed\n'
}

# The stick is still in, and gets the certificate too.
push_is_taken() {
  local code fingerprint
  code=$(sed -n 's/^.*hallmark:   one-time code \([A-Z0-9-]*\).*$/\1/p' "$console" | tail -n 1)
  fingerprint=$(sed -n 's/^.*hallmark:   fingerprint   \([0-9A-F:]*\).*$/\1/p' "$console" | tail -n 1)
  "$programs/hallmark-provision" push "$here/box.hallmark" --box "127.0.0.1:$push_port" --fingerprint "$fingerprint" --out "$here/pushed.pem" \
    <<<"$code" >"$here/push.log" 2>&1 || fail "the configuration was not taken" "see $here/push.log and $console"
  printf 'set up by a push after %d s\n' $((SECONDS - started))
  wait_for "hallmark: on the stick now: the box's certificate" "$boot_seconds"
  take_out late
  mcopy -n -o -i "$here/late.img" ::/server.pem "$set_up/tls/server-ca.pem" || fail "the box wrote no certificate on the stick" "see $console"
  head -c "$(stat -c %s "$set_up/tls/server-ca.pem")" "$here/pushed.pem" | cmp - "$set_up/tls/server-ca.pem" ||
    fail "who pushed has another certificate than the stick" "compare $here/pushed.pem"
  ! grep -q "hallmark: the network follows at the next start" "$console" || fail "the network does not follow at once" "see $console"
}
