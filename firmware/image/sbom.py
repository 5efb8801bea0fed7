"""The software bill of materials of an image, as SPDX 2.3 in JSON: every Debian package by name, version and source.

    sbom.py VERSION DPKG-STATUS KERNEL-CONTROL [ADDED-PACKAGE...] > hallmark.spdx.json

The same input gives the same bytes: its time is SOURCE_DATE_EPOCH, its name follows from its content.
"""

import datetime
import hashlib
import json
import os
import re
import sys
import urllib.parse


def paragraphs(path):
    """The packages of a dpkg status or control file, as dictionaries of their fields' first lines."""
    with open(path, encoding="utf-8") as file:
        for text in file.read().strip().split("\n\n"):
            yield dict(re.findall(r"^([A-Za-z-]+): (.*)$", text, re.MULTILINE))


def spdx_package(fields, added):
    """`added` names those that come from neither Debian nor us."""
    name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
    source = re.fullmatch(r"(\S+)(?: \((.*)\))?", fields.get("Source", name))
    vendor = "" if name in added else "hallmark" if name.startswith("hallmark-") else "debian"
    purl = f"pkg:deb/{vendor + '/' if vendor else ''}{name}@{urllib.parse.quote(version, safe='')}?arch={architecture}"
    if vendor == "debian":
        purl += "&distro=bookworm"
    return {
        "SPDXID": "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", name),
        "name": name,
        "versionInfo": version,
        "supplier": "Organization: " + (vendor.capitalize() or re.sub(" <(.*)>$", r" (\1)", fields["Maintainer"])),
        "sourceInfo": f"source package {source[1]} {source[2] or version}",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}],
    }


def main():
    version, status, kernel, *added = sys.argv[1:]
    installed = [fields for fields in paragraphs(status) if fields.get("Status", "").endswith(" installed")]
    packages = sorted((spdx_package(fields, added) for fields in [*installed, *paragraphs(kernel)]), key=lambda each: each["SPDXID"])
    digest = hashlib.sha256(json.dumps(packages, sort_keys=True).encode()).hexdigest()
    created = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
    image = {
        "SPDXID": "SPDXRef-image", "name": "hallmark-image", "versionInfo": version, "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
    }
    document = {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"hallmark-{version}",
        "documentNamespace": f"urn:hallmark:sbom:{digest}",
        "creationInfo": {"created": created.strftime("%Y-%m-%dT%H:%M:%SZ"), "creators": ["Tool: hallmark-firmware-build"]},
        "packages": [image, *packages],
        "relationships": [
            {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-image"},
            *({"spdxElementId": "SPDXRef-image", "relationshipType": "CONTAINS", "relatedSpdxElement": each["SPDXID"]}
              for each in packages),
        ],
    }
    json.dump(document, sys.stdout, indent=1)
    print()


main()
