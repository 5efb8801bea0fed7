# shellcheck shell=bash
# The keys that make a box one of its maker's: Secure Boot's PK, KEK and db, and the PCR key, whose signature lets the next image
# open what this one sealed. Part of firmware/build. Whoever has db.key and pcr.key can make images that open the boxes' secrets;
# the update key alone only says that a box may take what those have signed.

readonly key_files="PK.key PK.crt PK.auth KEK.key KEK.crt KEK.auth db.key db.crt db.auth pcr.key pcr.pub update.key update.crt"

# What says that keys are for trials: no box that matters trusts them.
readonly trial_mark=TRIAL

# make_keys FOLDER [TEXT]: new ones, with TEXT as their trial_mark. Private keys are the owner's to read, and not encrypted. They are made
# beside their place, so that a folder of keys is whole, or somebody took something out of it.
make_keys() {
  local folder=$1 text=${2:-} name new
  [[ ! -e $folder ]] || fail "$folder exists" "keys are made into a new folder"
  mkdir -p "$(dirname "$folder")" && new=$(mktemp -d "$folder.new.XXXXXX") || fail "no keys can be made in $(dirname "$folder")" "see the line above"
  # With "||" behind it no command below would end it by failing (set -e): so they hang together by "&&".
  (
    umask 077 && cd "$new" &&
      for name in PK KEK db; do
        openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days 7300 -subj "/CN=Hallmark $name" -keyout $name.key -out $name.crt &&
          cert-to-efi-sig-list -g "$(uuidgen)" $name.crt $name.esl || exit
      done &&
      sign-efi-sig-list -k PK.key -c PK.crt PK PK.esl PK.auth &&
      sign-efi-sig-list -k PK.key -c PK.crt KEK KEK.esl KEK.auth &&
      sign-efi-sig-list -k KEK.key -c KEK.crt db db.esl db.auth &&
      openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days 7300 -subj "/CN=Hallmark update" -addext keyUsage=critical,digitalSignature \
        -addext extendedKeyUsage=critical,codeSigning -keyout update.key -out update.crt &&
      openssl genrsa -out pcr.key 2048 &&
      openssl rsa -in pcr.key -pubout -out pcr.pub &&
      rm -f ./*.esl &&
      { [[ -z $text ]] || printf '%s\n' "$text" >$trial_mark; }
  ) >"$folder.log" 2>&1 && has_keys "$new" >>"$folder.log" || {
    rm -rf "$new"
    fail "making keys failed" "see $folder.log"
  }
  rm -f "$folder.log"
  mv -T "$new" "$folder" || fail "$new could not become $folder" "see the line above"
}

# trial_keys FOLDER DEFAULT: those of an earlier run, or new ones. Nothing is removed: what is not whole may be what is left of somebody's
# own keys, whose others are in a safe. An earlier version put no mark on what it made, which was in DEFAULT where nobody named another.
trial_keys() {
  local lacking
  if [[ ! -e $1 ]]; then
    make_keys "$1" "firmware/build made these keys for trials: not for a box that matters."
  elif ! lacking=$(has_keys "$1"); then
    fail "$1 is no whole set of keys: $lacking" "where it is of trials, remove it, and new ones are made; else put back what is missing and name it by --keys"
  elif [[ ! -e $1/$trial_mark && $1 != "$2" ]]; then
    fail "$1 has no file $trial_mark: its keys were not made for trials" "to sign with them, name them by --keys; where they are a trial's all the same, put a file of that name there"
  fi
}

# make_owner KEY CERTIFICATE: whose signature a trial box takes on its configuration. A real box's owner has a CA.
make_owner() {
  [[ ! -e $1 ]] || fail "$1 is there, and its certificate $2 is not" "put the certificate back, or move the key away"
  (umask 077 && openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days 7300 -subj "/CN=Hallmark trial owner" -keyout "$1.new" -out "$2.new" 2>/dev/null &&
    mv "$1.new" "$1" && mv "$2.new" "$2") || fail "no trial owner was made" "look at $(dirname "$1")"
}

# Says which is not there, if one is not. An empty file is none: its disk was full, or its program failed.
has_keys() {
  local file
  for file in $key_files; do
    [[ -r $1/$file && -s $1/$file ]] || {
      printf 'there is no %s, or it is empty\n' "$file"
      return 1
    }
  done
}

check_keys() {
  has_keys "$1" >/dev/null || fail "$1 has not all of: $key_files" "make a set of keys with: firmware/build --new-keys FOLDER"
}

# check_owner_ca FILE: certificates, which everybody who has an image can read; and no key with them. A box could take nothing from an owner
# whose file does not say who that is.
check_owner_ca() {
  [[ -r $1 ]] || fail "$1 cannot be read" "name the owner's CA, or leave --owner-ca away"
  ! grep -q 'PRIVATE KEY' "$1" || fail "$1 holds a private key" "everybody could read it on the image: name a file with the CA's certificate alone"
  { grep -q '^-----BEGIN CERTIFICATE-----' "$1" && openssl x509 -in "$1" -noout 2>/dev/null; } || fail "$1 is no certificate" "--owner-ca takes the owner's CA as PEM"
}
