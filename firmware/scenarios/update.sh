# shellcheck shell=bash disable=SC2154 # firmware/test's, which runs this
# Updates from a stick: tampered and older ones refused, a good one stays, a broken one falls back, the schema too.

scenario() {
  local version good broken
  needs_secure_boot || return 0
  version=$(basename "$images"/hallmark_*.raucb .raucb)
  version=${version#hallmark_}
  good=$version.1 broken=$version.2
  make_trial_version "$good"
  make_broken_overlay
  make_trial_version "$broken" --overlay "$here/broken"
  tamper "$here/made-$good/hallmark_$good.raucb" "$here/tampered.raucb"
  sign_as_somebody "$here/made-$good/hallmark_$good.raucb" "$here/foreign.raucb"

  box_as_kept
  start_machine update
  signs_as_before update-before

  offer foreign "$here/foreign.raucb"
  wait_for "update: not taken: .*signature verification failed" "$boot_seconds"
  said "update: not taken: "
  take_out foreign
  offer tampered "$here/tampered.raucb"
  wait_for "update: not taken: the bundle is damaged" "$boot_seconds"
  printf 'a bundle with another bit in it is refused\n'
  take_out tampered
  offer "$good" "$here/made-$good/hallmark_$good.raucb"
  # The box starts again, with the stick in it.
  wait_for "update: version $good signs, and stays" $((2 * boot_seconds))
  said "update: installed"
  printf 'version %s signs %d s after it was offered\n' "$good" $((SECONDS - offered))
  signs_as_before update-good
  wait_for "update: not taken: version $good runs already" "$boot_seconds"
  take_out "$good"

  offer older "$images/hallmark_$version.raucb"
  wait_for "update: not taken: version $version is not newer than $good, which runs" "$boot_seconds"
  printf 'the version before is refused\n'
  take_out older

  offer "$broken" "$here/made-$broken/hallmark_$broken.raucb"
  # Three starts in vain, and then the one before, which sees the stick once more.
  wait_for "update: not taken: version $broken was tried, and did not sign" $((5 * boot_seconds))
  (($(grep -ac "update: version $broken does not sign" "$console") == 3)) || fail "version $broken was not tried three times" "see $console"
  printf 'version %s: three tries, and back after %d s\n' "$broken" $((SECONDS - offered))
  said "trial: the schema is"
  signs_as_before update-after
  (($(signatures_on_ledger) == 4 * $(<"$here/signatures"))) || fail "the ledger does not go on where it was" "see $console"
  ledger_verifies
  stop_machine
  kernel_images
}

# A signerd that ends at once, as one does that misses a library; and before that the form of the database is one step ahead, as a
# newer version leaves it, with the way back.
make_broken_overlay() {
  local units=$here/broken/etc/systemd/system
  mkdir -p "$here"/broken/usr/{sbin,libexec} "$units/multi-user.target.wants"
  printf '#!/bin/sh\nexit 127\n' >"$here/broken/usr/sbin/signerd"
  chmod 755 "$here/broken/usr/sbin/signerd"
  cat >"$units/newer-schema.service" <<'UNIT'
[Unit]
After=hallmark-settle.service
Before=hallmark-signerd.service

[Service]
Type=oneshot
User=hallmark
ExecStart=/usr/bin/python3 /usr/libexec/newer-schema
StandardOutput=journal+console
UNIT
  ln -sf ../newer-schema.service "$units/multi-user.target.wants/"
  cat >"$here/broken/usr/libexec/newer-schema" <<'SCRIPT'
import sqlite3
database = sqlite3.connect("/var/lib/hallmark/hallmark.db", isolation_level=None)
[version] = database.execute("PRAGMA user_version").fetchone()
if not database.execute("SELECT 1 FROM schema_step WHERE version = ?", [version]).fetchone():
    database.executescript(f"""BEGIN;
        CREATE TABLE newer (number INTEGER) STRICT;
        INSERT INTO schema_step VALUES ({version + 1}, 'DROP TABLE newer');
        PRAGMA user_version = {version + 1};
        COMMIT""")
    print("trial: the schema is", version + 1)
SCRIPT
}

# tamper FROM TO: one bit of the payload, in the middle.
tamper() {
  local at byte
  cp "$1" "$2"
  at=$(($(stat -c %s "$1") / 2))
  byte=$(od -An -tu1 -j $at -N 1 "$1")
  printf '%b' "\\x$(printf %x $((byte ^ 1)))" | dd of="$2" bs=1 seek=$at conv=notrunc status=none
}

# sign_as_somebody FROM TO: the same, under a signature that is right, but not the maker's.
sign_as_somebody() {
  openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days 60 -subj "/CN=Somebody" -addext keyUsage=critical,digitalSignature \
    -addext extendedKeyUsage=critical,codeSigning -keyout "$here/somebody.key" -out "$here/somebody.crt" 2>/dev/null
  printf '[system]\ncompatible=hallmark\nbootloader=noop\n[keyring]\npath=%s\ncheck-purpose=codesign\n' "$here/somebody.crt" >"$here/rauc.conf"
  rm -f "$2"
  rauc --conf="$here/rauc.conf" --keyring="$images/keys/update.crt" --signing-keyring="$here/somebody.crt" --no-verify \
    --cert="$here/somebody.crt" --key="$here/somebody.key" resign "$1" "$2" >"$here/rauc.log" 2>&1 || fail "rauc failed" "see $here/rauc.log"
}

# offer NAME BUNDLE: on a stick that is put in.
offer() {
  local stick=$here/$1.stick
  printf 'a stick with %s is put in\n' "$(basename "$2")"
  rm -f "$stick"
  truncate -s $(($(stat -c %s "$2") / 1048576 + 16))M "$stick"
  mkfs.vfat -n HALLMARK "$stick" >/dev/null
  mcopy -i "$stick" "$2" ::/
  put_in "$1" "$stick"
  offered=$SECONDS
}

said() {
  local line
  line=$(grep -ao -m 1 "$1.*" "$console" | tr -d '\r') || fail "the console does not say \"$1\"" "see $console"
  printf 'the console: %s\n' "$line"
}

# What is on the EFI partition at the end: the version that stays, without a counter, and the one that was given up.
kernel_images() {
  local names
  take_esp
  names=$(mdir -b -i "$here/esp" ::/EFI/Linux | sed 's|.*/||' | sort | paste -sd ' ')
  [[ $names == "hallmark_$good.efi hallmark_$broken+0-3.efi" ]] || fail "the EFI partition has others than these two kernel images: $names" "see $console"
  printf 'on the EFI partition: %s\n' "$names"
}
