# shellcheck shell=bash disable=SC2034,SC2154 # firmware/test's, which runs this
# A box whose keys are in its TPM: first boot, a signature, and a second boot with the same key and no human.

# A box of its own, in a folder of its own.
scenario() {
  local here=$here/tpm-token
  local set_up=$here/set-up algorithms=rsa2048
  make_set_up
  make_stick $'[token]\nkind = "tpm"'
  make_disk_of "${disk_images[0]}"
  start_machine tpm-first
  wait_for "hallmark: set up" "$boot_seconds"
  wait_for "hallmark: signing" "$boot_seconds"
  printf 'signerd serves after %d s\n' $((SECONDS - started))
  take_certificate
  wait_for "_domainkey.example.net. 3600 IN TXT" "$boot_seconds"
  printf 'DNS records on the console after %d s\n' $((SECONDS - started))
  enrol_officers
  make_key_in_tpm "$domain"
  ctl dns show "$domain" --format keyfile >"$here/keys"
  signs_as_before tpm-first
  is_in_tpm
  signatures_on_ledger >"$here/signatures"
  stop_machine

  start_machine tpm-second
  signs_as_before tpm-second
  (($(signatures_on_ledger) == 2 * $(<"$here/signatures"))) || fail "the ledger does not go on where it was" "see $console"
  ledger_verifies
  printf 'the same key, and the ledger goes on\n'
  more_keys_than_room
  stop_machine
}

# The key is the TPM's, and what a TPM does not make is refused in its name; the ledger's is beside it.
is_in_tpm() {
  ctl status | tee "$here/status"
  grep -q '^main  *ready' "$here/status" || fail "the token main is not ready" "see $here/status"
  grep -q '^ledger  *ready' "$here/status" || fail "the token ledger is not ready" "see $here/status"
  ctl key generate "$domain" --algorithm ed25519 >"$here/refused" 2>&1 && fail "a TPM made an Ed25519 key" "see $here/refused"
  grep -q 'token main .* makes no Ed25519 keys' "$here/refused" || fail "another refusal was expected" "see $here/refused"
}

# A key takes room in the TPM, and where there is none its making is not tried again but by a person: docs/tokens.md.
make_key_in_tpm() {
  local deadline=$((SECONDS + boot_seconds))
  ctl domain add "$1" >/dev/null
  until ctl key generate "$1" --activate >"$here/generate.log" 2>&1; do
    grep -q TOKEN_DOWN "$here/generate.log" || fail "no key for $1" "see $here/generate.log"
    ((SECONDS < deadline)) || fail "no key for $1 in $boot_seconds s" "see $here/generate.log"
    sleep 1
  done
}

# The TPM itself has room for three objects at once. More keys sign all the same; and they rotate by a policy that nobody had to set.
more_keys_than_room() {
  local name at
  for name in org edu info; do
    make_key_in_tpm "example.$name"
  done
  at=$SECONDS
  for name in org edu info com org edu info com; do
    sed "s/example\.com/example.$name/g" "$message" >"$here/message-$name"
    timeout 60 "$programs/dkimctl" sign "$here/message-$name" --dir "$set_up" >"$here/signed-$name" || fail "example.$name is not signed" "see $console"
    grep -q "d=example.$name;" "$here/signed-$name" || fail "example.$name is signed by another domain" "see $here/signed-$name"
  done
  printf 'eight signatures in turns with four keys took %d s\n' $((SECONDS - at))
  ctl key rotate "$domain" --now >/dev/null
}
