# shellcheck shell=bash disable=SC2154 # firmware/test's, which runs this
# Two officers end the box: keys and state are gone, and it is set up as new.

scenario() {
  local number set_up=$set_up
  box_as_kept
  # The new box has another certificate, other officers: other scenarios go on with those of before.
  rm -rf "$here/set-up-of-new"
  cp -a "$set_up" "$here/set-up-of-new"
  set_up=$here/set-up-of-new
  start_machine factory-reset
  signs_as_before factory-reset

  ctl factory-reset --box signer1.example.com --yes >"$here/reset.log" 2>&1 && fail "one officer alone ended the box" "see $here/reset.log"
  number=$(sed -n 's/.*dkimctl approvals approve \([0-9]*\).*/\1/p' "$here/reset.log")
  [[ -n $number ]] || fail "the request waits for nobody" "see $here/reset.log"
  ctl approvals approve "$number" --yes --as officer2 >/dev/null
  wait_for "hallmark: factory reset: done; the box starts as new" "$boot_seconds"
  wait_for "hallmark: making the state partition" "$boot_seconds"
  wait_for "hallmark: set up" "$boot_seconds"
  printf 'set up as new %d s after the start\n' $((SECONDS - started))
  cp "$set_up/tls/server-ca.pem" "$here/certificate-before"
  take_certificate
  wait_for "_domainkey.example.net. 3600 IN TXT" "$boot_seconds"
  ! cmp -s "$here/certificate-before" "$set_up/tls/server-ca.pem" || fail "the box has the TLS key of before" "see $console"

  # Nothing is known of before: neither officers, nor domains, nor keys, nor the ledger.
  cp "$here/keys" "$here/keys-before"
  rm "$set_up"/secrets/*.totp
  make_keys_of_box
  signs_as_before factory-reset-new
  ! cmp -s "$here/keys-before" "$here/keys" || fail "the keys are those of before" "compare $here/keys"
  (($(signatures_on_ledger) == $(<"$here/signatures"))) || fail "the ledger is not a new one" "see $console"
  ledger_verifies
  stop_machine
}
