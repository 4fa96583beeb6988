#!/bin/sh
# Debian packages that no Python wheel serves, for parts that say so when they are absent: Java for the METEOR metric.
need=""
command -v java >/dev/null 2>&1 || need="default-jre-headless"
[ -z "$need" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "Optional: '$need' is not installed (METEOR needs it); as root: apt-get install -y $need"
    exit 0
fi
echo "Installing $need ..."
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $need; } >/dev/null 2>&1 ||
    echo "Optional: '$need' could not be installed (METEOR needs it); everything else works without."
