#!/bin/sh
# Debian packages that no Python wheel serves. Everything works without them; tests that need one skip and say so.
#   default-jre-headless        Java for the METEOR metric
#   dicom3tools dcmtk           dciodvfy and dsrdump judge the DICOM objects that are written; dcm2pnm and dcmdjpeg are
#                               second readers of the files that the reading tests make
#   orthanc orthanc-dicomweb    a PACS on loopback that stores them and hands out studies
#   poppler-utils               pdftoppm draws the PDF report's page for the guide
#   chromium fonts-dejavu-core  opens the HTML report without a screen, to test it; any Chrome will do
need=""
want() { # command package...
    command -v "$1" >/dev/null 2>&1 && return
    shift
    need="$need $*"
}
PATH=$PATH:/usr/sbin
want java default-jre-headless
want dciodvfy dicom3tools
want dsrdump dcmtk
want Orthanc orthanc orthanc-dicomweb
want pdftoppm poppler-utils
command -v google-chrome >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || want chromium chromium fonts-dejavu-core
[ -z "$need" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "Optional, not installed:$need (some tests skip, METEOR is left out); as root: apt-get install -y$need"
    exit 0
fi
echo "Installing$need ..."
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >/dev/null 2>&1
dpkg --configure -a >/dev/null 2>&1 # an installation that was cut off blocks every later one
policy=/usr/sbin/policy-rc.d        # Orthanc's package would start a DICOM server that listens on the network: not here
[ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy && trap "rm -f $policy" EXIT; }
for package in $need; do            # one by one: what one archive lacks does not take the rest with it
    apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 ||
        echo "Optional: '$package' could not be installed; everything else works without."
done
case $need in *orthanc*) command -v systemctl >/dev/null 2>&1 && systemctl disable -q orthanc >/dev/null 2>&1 ;; esac # nor at boot
exit 0
