#!/bin/sh
# Make the secrets of a new hall of several nodes, once:
#
#   sh deploy/make-secrets.sh FOLDER hall.example
#
# The second word is the name by which clients reach the hall. The database and the bus are called
# `database` and `bus`; give other names as the third and the fourth word. Nothing that is there
# already is overwritten.
set -eu
umask 077

folder=${1:?"usage: make-secrets.sh FOLDER NAME [DATABASE [BUS]]"}
name=${2:?"usage: make-secrets.sh FOLDER NAME [DATABASE [BUS]]"}
database=${3:-database}
bus=${4:-bus}
days=3650

if [ -e "$folder/sealing.key" ]; then
    echo "$folder holds secrets already; a hall whose sealing.key is lost cannot start" >&2
    exit 1
fi
mkdir -p "$folder"
cd "$folder"

# The hall's own key: 32 bytes, the same on all nodes.
openssl rand -hex 32 > sealing.key

for role in superuser database bus; do
    openssl rand -hex 24 > "$role.password"
done
printf 'BUS_PASSWORD: "%s"\n' "$(cat bus.password)" > bus.conf

make_key() {
    openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
}

# An authority that vouches for the database and the bus, and for nothing else.
make_key authority
openssl req -x509 -new -key authority.key -days "$days" -out authority.pem \
    -subj "/CN=Moothall's database and bus" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign"

vouch_for() {
    make_key "$1"
    openssl req -new -key "$1.key" -subj "/CN=$2" -out "$1.request"
    printf 'subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth\n' "$2" > "$1.extensions"
    openssl x509 -req -in "$1.request" -CA authority.pem -CAkey authority.key -CAcreateserial \
        -days "$days" -extfile "$1.extensions" -out "$1.pem" 2> /dev/null
    rm "$1.request" "$1.extensions"
}
vouch_for database "$database"
vouch_for bus "$bus"
rm authority.srl

# What clients see, on every node the same. Put one of a public authority in its place if you can.
make_key hall
openssl req -x509 -new -key hall.key -days "$days" -out hall.pem \
    -subj "/CN=$name" -addext "subjectAltName=DNS:$name"

# Certificates are public; whoever must read one runs as somebody else.
chmod 644 authority.pem database.pem bus.pem hall.pem
echo "Made in $folder. Keep a copy of sealing.key and hall.key where no backup of the rows is."
