"""Caption one image with the service: `python client.py URL FILE`. Needs nothing but Python."""

import json
import sys
import urllib.request


def caption(url: str, path: str, token: str = "", **options: object) -> dict:
    """The reply of the service for the file at ``path``; options such as ``num_beams=1`` go into the query."""
    query = "&".join(f"{name}={value}" for name, value in options.items())
    headers = {"Content-Type": "application/octet-stream", **({"Authorization": f"Bearer {token}"} if token else {})}
    with open(path, "rb") as file:
        request = urllib.request.Request(f"{url}/caption?{query}", file.read(), headers)
    with urllib.request.urlopen(request, timeout=300) as reply:
        return json.load(reply)


if __name__ == "__main__":
    found = caption(sys.argv[1], sys.argv[2])
    print(found["caption"], f"(plane, kind, organ: {found['confidence']:.0%})")
