"""Signs requests as OAuth1 wants it: oauth1.py METHOD NAME=VALUE... -- URL...

Prints the header of each URL; "#" in a value is the URL's number. The secrets stand in the environment:
OAUTH1_SECRETS="consumer token". What stands in a URL's query is signed, too.
"""
import base64
import hashlib
import hmac
import os
import sys

UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


def encode(text):
    return "".join(chr(c) if c in UNRESERVED else "%%%02X" % c for c in text.encode())


def decode(text):
    out = bytearray()
    raw = text.replace("+", " ").encode()
    i = 0
    while i < len(raw):
        escape = raw[i : i + 1] == b"%"
        out.append(int(raw[i + 1 : i + 3], 16) if escape else raw[i])
        i += 3 if escape else 1
    return out.decode()


def header(method, pairs, url, secrets):
    uri, _, query = url.partition("?")
    signed = list(pairs)
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        signed.append((decode(name), decode(value)))
    joined = "&".join("%s=%s" % pair for pair in sorted((encode(n), encode(v)) for n, v in signed))
    base = "&".join((method, encode(uri), encode(joined)))
    key = "&".join(encode(s) for s in secrets)
    mac = hmac.new(key.encode(), base.encode(), hashlib.sha1).digest()
    pairs = pairs + [("oauth_signature", base64.b64encode(mac).decode())]
    return "Authorization: OAuth " + ", ".join('%s="%s"' % (n, encode(v)) for n, v in pairs)


def main():
    end = sys.argv.index("--")
    secrets = (os.environ["OAUTH1_SECRETS"] + " ").split(" ")[:2]
    for number, url in enumerate(sys.argv[end + 1 :]):
        pairs = [arg.replace("#", str(number)).split("=", 1) for arg in sys.argv[2:end]]
        print(header(sys.argv[1], [tuple(p) for p in pairs], url, secrets))


main()
