#!/bin/bash
# Installs the programs of AWS for ecr.ts, each in a folder of the cache: the AWS CLI 1 and boto3 from PyPI, the AWS CLI 2 of
# Debian, and the SDK for JavaScript from npm. Prints `ready`, or the last line of the error.
#
# usage: install.sh FOLDER

set -u
folder=$1
log=$folder/install.log
mkdir -p "$folder"
fail() { grep . "$log" | tail -n 1; exit 1; }

exec 9> "$folder/lock"; flock 9
if [ ! -x "$folder/python/bin/aws" ]; then
  python3 -m venv "$folder/python" > "$log" 2>&1 \
    && "$folder/python/bin/pip" install --quiet 'awscli>=1.40,<2' boto3 >> "$log" 2>&1 || fail
fi
if [ ! -x /usr/bin/aws ]; then
  export DEBIAN_FRONTEND=noninteractive
  { apt-get -o DPkg::Lock::Timeout=300 -qq update \
    && apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends awscli; } > "$log" 2>&1 || fail
fi
if [ ! -d "$folder/sdk/node_modules/@aws-sdk/client-ecr" ]; then
  npm install --silent --no-audit --no-fund --prefix "$folder/sdk" @aws-sdk/client-ecr@3 > "$log" 2>&1 || fail
fi
echo ready
