# shellcheck shell=bash disable=SC2034,SC2154 # firmware/test's, which runs this
# A box without a stick: a configuration that names an HSM that is not there is refused, and the next one is taken.

# A box of its own, in a folder of its own.
scenario() {
  local here=$here/pushed
  local set_up=$here/set-up
  make_set_up
  make_stick
  mdel -i "$here/stick.img" ::/box.hallmark
  make_disk_of "${disk_images[0]}"
  start_machine pushed
  wait_for "hallmark:   fingerprint " "$boot_seconds"
  fingerprint=$(sed -n 's/^.*hallmark:   fingerprint   \([0-9A-F:]*\).*$/\1/p' "$console")
  module_is_tried
  push_is_taken
  wait_for "Closed .*hallmark-push" "$boot_seconds"
  wait_for 'hallmark: signing; up for [1-9]' "$boot_seconds"
  cp "$here/pushed.pem" "$set_up/tls/server-ca.pem"
  make_keys_of_box
  signs_as_before pushed
  stop_machine
}

# push FILE: with the code that the console has now.
push() {
  local code
  code=$(sed -n 's/^.*hallmark:   one-time code \([A-Z0-9-]*\).*$/\1/p' "$console" | tail -n 1)
  "$programs/hallmark-provision" push "$1" --box "127.0.0.1:$push_port" --fingerprint "$fingerprint" --out "$here/pushed.pem" <<<"$code" >"$here/push.log" 2>&1
}

# SoftHSM in the place of a vendor's module; that it says so of its token shows that it had its variable and its file, and could run.
module_is_tried() {
  local pushing
  make_configuration "$here/module" $'[token]\nkind = "module"\nmodule = "/usr/lib/softhsm/libsofthsm2.so"\nlabel = "vendor 1"\nenvironment = { SOFTHSM2_CONF = "/etc/hallmark/vendor.conf" }'
  sed -i 's/^files = \[/&"vendor.conf", /' "$here/module/box.toml"
  printf 'directories.tokendir = /tmp\n' >"$here/module/vendor.conf"
  pack "$here/module" "$here/module.hallmark"
  push "$here/module.hallmark" &
  pushing=$!
  wait_for "hallmark: type the PIN of the token vendor 1" "$boot_seconds"
  type_at_console 123456
  ! wait $pushing || fail "a token that is not there was taken" "see $console"
  grep -q "the module has no token that pkcs11:token=vendor%201 names" "$here/push.log" || fail "the module was not tried" "see $here/push.log and $console"
  printf 'the module was loaded, and the token missed\n'
}

push_is_taken() {
  push "$here/box.hallmark" || fail "the configuration was not taken" "see $here/push.log and $console"
  printf 'set up by a push after %d s\n' $((SECONDS - started))
  grep -q "hallmark: the network follows at the next start" "$console" && fail "the network does not follow at once" "see $console"
  return 0
}
