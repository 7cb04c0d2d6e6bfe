"""An OpenID Connect provider: its keys, and the tokens that it signs."""

from __future__ import annotations

import base64
import json
import time
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

AUDIENCE: Final = "cvpipe"
_MAKERS: Final = {
    "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


class Provider:
    """One key for each algorithm; its id is the algorithm's name and `generation`, which `rotate` counts up."""

    def __init__(self, issuer: str = "https://login.example.com/it") -> None:
        self.issuer = issuer
        self.generation = 0
        self.rotate()

    def rotate(self) -> None:
        """Sign with other keys from now on, and show no longer those before."""
        self.generation += 1
        self.private: dict[str, Any] = {name: make() for name, make in _MAKERS.items()}

    def key_id(self, algorithm: str) -> str:
        return f"{algorithm}-{self.generation}"

    def jwks(self) -> bytes:
        """What it shows of its keys, and others that are no use here."""
        shown = []
        for name, key in self.private.items():
            public = json.loads(jwt.get_algorithm_by_name(name).to_jwk(key.public_key()))
            shown.append({**public, "kid": self.key_id(name), "use": "sig"})
        shared = {"kty": "oct", "k": encoded(b"shared" * 8), "kid": "shared", "alg": "HS256"}
        return json.dumps({"keys": [*shown, shared, {"kty": "AKP", "kid": "new"}]}).encode()

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 3600, "tenant": "mine",
            "scope": "openid cvpipe:read", **changes,
        }  # fmt: skip
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, algorithm: str = "ES256", *, header: dict[str, Any] | None = None, **changes: Any) -> str:
        """A token; `changes`: of its claims, None: without."""
        told = {"kid": self.key_id(algorithm), **(header or {})}
        return jwt.encode(self.claims(**changes), self.private[algorithm], algorithm, headers=told)

    def unsigned(self, **changes: Any) -> str:
        """A token that says of itself that it needs no signature."""
        return jwt.encode(self.claims(**changes), None, "none", headers={"kid": self.key_id("ES256")})

    def confused(self, **changes: Any) -> str:
        """A token signed by a shared secret, which is the text of the public key (RFC 8725, 2.1)."""
        head = {"alg": "HS256", "typ": "JWT", "kid": self.key_id("RS256")}
        secret = json.dumps(jwt.get_algorithm_by_name("RS256").to_jwk(self.private["RS256"].public_key())).encode()
        signed = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(self.claims(**changes)).encode())}"
        mac = jwt.get_algorithm_by_name("HS256").sign(signed.encode(), secret)
        return f"{signed}.{encoded(mac)}"

    def bad(self, **changes: Any) -> dict[str, str]:
        """Tokens that are not good, each for one reason."""
        other = Provider(self.issuer)
        good = self.token(**changes)
        return {
            "expired": self.token(**{**changes, "exp": int(time.time()) - 60}),
            "wrong audience": self.token(**{**changes, "aud": "another"}),
            "wrong signature": other.token(**changes),
            "none-alg": self.unsigned(**changes),
            "shared secret": self.confused(**changes),
            "another issuer": self.token(**{**changes, "iss": "https://evil.example.com"}),
            "changed": good[:-8] + ("A" * 8 if not good.endswith("A" * 8) else "B" * 8),
        }


def encoded(data: bytes) -> str:
    """Base64 as JWTs have it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
