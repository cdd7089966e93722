"""Tokens, codes and names that strangers make up: only the genuine ones are taken.

Each sort of text has a judge here that knows all genuine ones. A text may be taken only if it is
one of those, and whatever it is, nothing but the documented error may come of it.
"""

import hmac
import json
import random
import re
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey

from moothall.action.assertion import (
    is_proven,
    read_assertion,
    read_server_key,
    show_server_key,
    sign_assertion,
)
from moothall.action.cursor import Extent, read_cursor
from moothall.action.token import LIFE_SECONDS, TokenVerifier, sign_token
from moothall.core.errors import InvalidArgumentError, UnauthenticatedError
from moothall.core.paths import covers, enclosing, is_path
from moothall.services.identity.adapters.codes import CodeSeal
from moothall.services.identity.adapters.sessions import EndedSessions, RefreshSeal
from moothall.services.identity.rules.contacts import check_address
from moothall.services.identity.rules.names import check_name, skeleton_of
from moothall.testing import ManualClock
from moothall.testing.clock import NEW_YEAR_MS
from moothall.testing.entropy import SeededEntropy
from tests.fuzz.mutation import cut_down, mutate
from tests.fuzz.report import Finding, Report
from tests.fuzz.shapes import INTEGERS, NAUGHTY_TEXTS, NUMBERS, OTHERS, Pairs, Raw, encode

TARGET = "tokens"
BLOCK = 20_000
HALL, OTHER_HALL = "https://hall.test", "https://other.test"
PUBLIC_URL = "https://scores.example"
EPOCH = "epoch"
NOW_S = NEW_YEAR_MS // 1_000
FAR_MS = NEW_YEAR_MS * 2
BASE64_SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class FoundError(Exception):
    """What a text came to is wrong; the message says how."""


def encode_part(raw: bytes | str) -> str:
    """Encode as a part of a token (RFC 7515, section 2)."""
    data = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_part(part: str) -> Any:
    """Return what a part of a genuine token says."""
    return json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))


class Ring:
    """Two keys, of which the first signs; a third is retired."""

    generation = 0

    def __init__(self) -> None:
        self.private = [Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3)]
        self.made = [self._import(key, f"k{n}") for n, key in enumerate(self.private, 1)]
        self._keys = {f"k{n}": key for n, key in enumerate(self.made[:2], 1)}

    @staticmethod
    def _import(key: Ed25519PrivateKey, kid: str) -> OKPKey:
        public = encode_part(key.public_key().public_bytes_raw())
        secret = encode_part(key.private_bytes_raw())
        fields: dict[str, str | list[str]] = {"kty": "OKP", "crv": "Ed25519", "kid": kid}
        return OKPKey.import_key({**fields, "x": public, "d": secret, "alg": "EdDSA"})

    def signing_key(self) -> OKPKey:
        return self.made[0]

    def verifying_key(self, kid: str) -> OKPKey | None:
        return self._keys.get(kid)

    def public_jwks(self) -> dict[str, object]:
        return {}


class OneKey(Ring):
    """Signs by another key of the ring, the retired one too."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def signing_key(self) -> OKPKey:
        return self.made[self._number]


class Tokens:
    """All genuine texts, and the judges.

    Attributes:
        genuine: By sort; the judge of a sort takes these and no others.
    """

    def __init__(self) -> None:
        self.ring, self._clock = Ring(), ManualClock()
        ended = EndedSessions(self._clock)
        ended.add("ended", "closed")
        self._verifier = TokenVerifier(self.ring, ended, self._clock, issuer=HALL, audience=HALL)
        self._refresh = RefreshSeal(b"\x05" * 32)
        self._codes = CodeSeal(b"\x06" * 32, SeededEntropy(1))
        self._server = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
        shown = show_server_key(self._server.public_key().public_bytes_raw())
        server_key = read_server_key(shown)
        assert server_key is not None
        self._server_key = server_key
        people = ("ada", "b\u00e9a", "x" * 60)
        self.foreign = [self._sign(f"m{n}", OneKey(2)) for n in range(2)]
        self.foreign += [self._sign("m1", audience=PUBLIC_URL), self._sign("m2", issuer=OTHER_HALL)]
        self.foreign += [self._sign("m1", session_id="ended")]
        invitation = self._codes.make_invitation()
        self._invitation = self._codes.digest_invitation(invitation)
        self._invitation_plain = invitation.replace("-", "")
        self.genuine: dict[str, list[str]] = {
            "token": [
                *(self._sign(f"m{n}", device=who, token_id=who) for n, who in enumerate(people)),
                *(self._sign(f"m{n}", OneKey(1)) for n in range(2)),
            ],
            "refresh": [self._refresh.token(f"s{n}", n * 7 + 1) for n in range(3)],
            "assertion": [
                sign_assertion(
                    self._server,
                    server=PUBLIC_URL,
                    issuer=HALL,
                    assertion_id=f"a{n}",
                    now_ms=NEW_YEAR_MS,
                )
                for n in range(3)
            ],
            "server_key": [shown],
            "cursor": [f"{EPOCH}.{n}" for n in ("5", "10", "99", "5-7", "9-10-11-98")],
            "invitation": [invitation, invitation.upper()],
            "path": ["", "board/7", "org/1/team/core", "a.b:c/d_e-f", "/".join("abcdefgh")],
            "name": ["Ada", "ada lovelace", "J\u00fcrg", "\u0391\u03b4\u03b1", "\u5c0f\u6797"],
            "contact": ["ada@example.org", "+41791234567", "Ada.L+x@B\u00fccher.example"],
        }
        self._judges: dict[str, Callable[[str], bool]] = {
            sort: getattr(self, f"_judge_{sort}") for sort in self.genuine
        }

    def _sign(self, member_id: str, keys: Ring | None = None, **changed: str) -> str:
        facts = {"issuer": HALL, "audience": HALL, "session_id": "s1", "token_id": "t1", **changed}
        token, _ = sign_token(
            keys or self.ring,
            **facts,
            member_id=member_id,
            session_expires_at_ms=FAR_MS,
            now_ms=NEW_YEAR_MS,
        )
        return token

    def judge(self, sort: str, text: str) -> bool:
        """Tell whether a text was taken.

        Raises:
            FoundError: It must not have been, or something else came of it.
        """
        try:
            return self._judges[sort](text)
        except FoundError:
            raise
        except Exception as error:
            raise FoundError(f"{type(error).__name__}: {str(error)[:200]}") from error

    def _must_be_genuine(self, sort: str, text: str) -> bool:
        if text not in self.genuine[sort]:
            msg = f"a {sort} was taken that nobody made"
            raise FoundError(msg)
        return True

    def _judge_token(self, text: str) -> bool:
        try:
            self._verifier.verify(text)
        except UnauthenticatedError:
            return False
        return self._must_be_genuine("token", text)

    def judge_signed(self, text: str) -> bool:
        """Judge a token that the hall's own key signed, but whose claims are strange."""
        try:
            self._verifier.verify(text)
        except UnauthenticatedError:
            return False
        claims = decode_part(text.split(".")[1])
        numbers = [claims["exp"], claims["iat"], claims.get("nbf", 0)]
        is_right = (
            claims["iss"] == claims["aud"] == HALL
            and all(isinstance(each, int | float) for each in numbers)
            and NOW_S < claims["exp"] <= claims["iat"] + LIFE_SECONDS
        )
        if not is_right:
            raise FoundError("a token with wrong claims was taken")
        return True

    def _judge_refresh(self, text: str) -> bool:
        found = self._refresh.open(text)
        return found is not None and self._must_be_genuine("refresh", text)

    def _judge_assertion(self, text: str) -> bool:
        said = read_assertion(text)
        if said is None:
            return False
        said.server.encode(), said.jti.encode()  # they are looked up in the database
        if not is_proven(text, said, self._server_key, issuer=HALL, now_ms=NEW_YEAR_MS):
            return False
        return self._must_be_genuine("assertion", text)

    def _judge_server_key(self, text: str) -> bool:
        key = read_server_key(text)
        if key is not None and f"ed25519:{key.as_dict()['x']}" != text:
            raise FoundError("a key has two spellings")
        return key is not None

    def _judge_cursor(self, text: str) -> bool:
        place = read_cursor(text, Extent(EPOCH, 3, 100, 100))
        if place is None:
            return False
        numbers = [place.settled, *place.beyond]
        spelled = "-".join(f"0*{number}" for number in numbers)
        is_sound = numbers[0] >= 3 and numbers[-1] <= 100 and numbers == sorted(set(numbers))
        if not (is_sound and len(numbers) <= 5 and re.fullmatch(rf"{EPOCH}\.{spelled}", text)):
            raise FoundError(f"a cursor was read as {place}")
        return True

    def _judge_invitation(self, text: str) -> bool:
        if self._codes.digest_invitation(text) != self._invitation:
            return False
        plain = "".join(text.split()).replace("-", "").lower()
        if plain != self._invitation_plain:
            raise FoundError("another code has the same digest")
        return True

    def _judge_path(self, text: str) -> bool:
        segment = "[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}"
        is_right = re.fullmatch(rf"({segment}(/{segment}){{0,7}})?", text) is not None
        if is_path(text) != is_right:
            raise FoundError(f"is_path says {not is_right}")
        if is_right:
            for other in ("", "board/7", "board", "org/1"):
                parts, wanted = text.split("/"), other.split("/") if other else []
                is_below = parts[: len(wanted)] == wanted
                if covers(other, text) != is_below or (other in enclosing(text)) != is_below:
                    raise FoundError(f"{other!r} and {text!r}")
        return is_right

    def _judge_name(self, text: str) -> bool:
        try:
            shown, key = check_name(text)
        except InvalidArgumentError:
            return False
        if check_name(shown) != (shown, key):
            raise FoundError("what is shown is not what would be kept")
        if "\n" in shown or "/" in shown or not shown.isprintable() or not 1 <= len(shown) <= 32:
            raise FoundError(f"the name {shown!r} was taken")
        skeleton_of(shown).encode(), key.encode()
        return True

    def _judge_contact(self, text: str) -> bool:
        try:
            found = check_address(text)
        except InvalidArgumentError:
            return False
        if check_address(found.text).key != found.key or "\n" in found.text:
            raise FoundError(f"{found} is not its own form")
        found.text.encode(), found.key.encode()
        return True


class TokenMaker:
    """Makes texts that look like genuine ones."""

    def __init__(self, tokens: Tokens, chance: random.Random) -> None:
        self._tokens = tokens
        self._chance = chance
        self._sorts = [*tokens.genuine, "token", "token", "assertion", "signed"]

    def make(self) -> tuple[str, str]:
        """Return a sort and a text."""
        chance = self._chance
        sort = chance.choice(self._sorts)
        if sort == "signed":
            return sort, self._strange_claims()
        text = chance.choice(self._tokens.genuine[sort])
        if sort in {"token", "assertion"}:
            ways = [self._bit, self._bytes, self._swap, self._forge, self._respell, self._letter]
            return sort, chance.choice(ways)(text)
        if chance.random() < 0.2:
            return sort, chance.choice(NAUGHTY_TEXTS)[:300]
        return sort, chance.choice([self._bit, self._bytes, self._letter, self._respell])(text)

    def _bit(self, text: str) -> str:
        data = bytearray(text.encode())
        if data:
            data[self._chance.randrange(len(data))] ^= 1 << self._chance.randrange(8)
        return data.decode("utf-8", "replace")

    def _bytes(self, text: str) -> str:
        data = mutate(text.encode(), self._chance, self._chance.choice([1, 2, 5]))
        return data.decode(self._chance.choice(["utf-8", "latin-1"]), "replace")

    def _letter(self, text: str) -> str:
        """Change one letter to another that could stand there too."""
        chance = self._chance
        at = chance.randrange(len(text) + 1)
        letter: str = chance.choice([*BASE64_SIGNS, "", "."])
        return text[:at] + letter + text[at + 1 :]

    def _swap(self, text: str) -> str:
        """Put parts of several tokens together."""
        tokens, chance = self._tokens, self._chance
        pool = [*tokens.genuine["token"], *tokens.genuine["assertion"], *tokens.foreign, text]
        parts = [chance.choice(pool).split(".")[at] for at in (0, 1, 2)]
        match chance.randrange(6):
            case 0:
                parts.reverse()
            case 1:
                parts[2] = ""
            case 2:
                parts.append(parts[2])
            case 3:
                return chance.choice(tokens.foreign)
            case _:
                pass
        return ".".join(parts)

    def _respell(self, text: str) -> str:
        """Write the same otherwise."""
        chance = self._chance
        at = chance.randrange(len(text) + 1)
        spellings = [
            *(text + sign for sign in ("=", "==", "\n", " ", "\0", ".", "\u00a0", "A", "%3D")),
            *(sign + text for sign in (" ", "\n", "Bearer ", "\ufeff", ".")),
            text[:at] + chance.choice(["\n", " ", "=", "\0", "\u200b", "\r\n"]) + text[at:],
            *(text.replace("-", "+"), text.replace("_", "/"), text.replace(".", "\uff0e")),
            *(text.swapcase(), text.translate(_OTHER_DIGITS), text * 2, text + "A" * 2_100),
            b64encode(text.encode()).decode(),
            self._last_bits(text),
        ]
        return chance.choice(spellings)

    def _last_bits(self, text: str) -> str:
        """Change bits of a part that its bytes do not need."""
        parts = text.split(".")
        at = self._chance.randrange(len(parts))
        if parts[at] and parts[at][-1] in BASE64_SIGNS:
            place = BASE64_SIGNS.index(parts[at][-1])
            parts[at] = parts[at][:-1] + BASE64_SIGNS[place ^ self._chance.choice([1, 2, 3])]
        return ".".join(parts)

    def _forge(self, text: str) -> str:
        """Say something else in header or claims, and sign it with what a stranger has."""
        chance = self._chance
        head, claims, signature = text.split(".")
        header = dict(decode_part(head))
        header["alg"] = chance.choice(_ALGORITHMS)
        if chance.random() < 0.5:
            header[chance.choice([*_HEADERS, "alg", "typ", "kid"])] = self._strange()
        head = encode_part(encode(self._pairs(header)))
        if chance.random() < 0.5:
            said = dict(decode_part(claims))
            said[chance.choice(list(said))] = self._strange()
            claims = encode_part(encode(self._pairs(said)))
        return f"{head}.{claims}.{self._stranger_signs(f'{head}.{claims}', signature)}"

    def _stranger_signs(self, signed: str, signature: str) -> str:
        match self._chance.randrange(6):
            case 0:
                public = self._tokens.ring.private[0].public_key().public_bytes_raw()
                secret = self._chance.choice([public, encode_part(public).encode(), b"", b"secret"])
                return encode_part(hmac.digest(secret, signed.encode(), "sha256"))
            case 1:
                return encode_part(_STRANGER.sign(signed.encode()))
            case 2 if self._chance.random() < 0.05:
                return encode_part(_STRANGER_EC.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
            case 3:
                return encode_part(bytes(64))
            case 4:
                return ""
            case _:
                return signature

    def _strange_claims(self) -> str:
        """Return a token that the hall's own key signed, and whose claims are strange."""
        chance = self._chance
        head, claims, _ = self._tokens.genuine["token"][0].split(".")
        said = dict(decode_part(claims))
        name = chance.choice([*said, "nbf", "name", "dev", "iss2"])
        said[name] = self._strange()
        claims = encode_part(encode(self._pairs(said)))
        signed = f"{head}.{claims}"
        return f"{signed}.{encode_part(self._tokens.ring.private[0].sign(signed.encode()))}"

    def _pairs(self, members: dict[str, Any]) -> Pairs:
        """Return members of which one may stand twice."""
        pairs = Pairs(members.items())
        if self._chance.random() < 0.1:
            pairs.append(self._chance.choice(pairs))
        return pairs

    def _strange(self) -> Any:
        chance = self._chance
        around = [NOW_S, NOW_S + 1, NOW_S + 300, NOW_S - 1, NOW_S + 300.5, -NOW_S, f"{NOW_S}"]
        deep = chance.choice([5, 400])
        others = [
            *(*around, Raw("1e400"), Raw("NaN"), Raw('"\\ud800"'), Raw(f"{NOW_S}.0"), Raw("1E9")),
            Raw("[" * deep + "]" * deep),
            *(["https://hall.test"], {"a": 1}, HALL + "/", HALL.upper(), "k1", "k2", "k3", "../k1"),
        ]
        pools: list[list[Any]] = [others, others, INTEGERS, NUMBERS, OTHERS, NAUGHTY_TEXTS[:40]]
        return chance.choice(chance.choice(pools))


_STRANGER = Ed25519PrivateKey.from_private_bytes(b"\x09" * 32)
_STRANGER_EC = ec.generate_private_key(ec.SECP256R1())
_OTHER_DIGITS = {ord("0") + n: 0x0660 + n for n in range(10)}
_ALGORITHMS: list[Any] = [
    *("none", "None", "HS256", "ES256", "RS256", "EdDSA", "Ed25519", "eddsa", "Ed448", "", None, 1),
    *("EdDSA ", "PS512", "dir", ["EdDSA"]),
]
_HEADERS = ["jwk", "jku", "x5c", "x5u", "crit", "b64", "zip", "cty", "kid2", "enc", "p2c"]


def run(tokens: Tokens, sort: str, text: str) -> bool:
    """Judge one text."""
    if sort == "signed":
        try:
            return tokens.judge_signed(text)
        except FoundError:
            raise
        except Exception as error:
            raise FoundError(f"{type(error).__name__}: {str(error)[:200]}") from error
    return tokens.judge(sort, text)


async def run_block(seed: int, block: int, count: int = BLOCK) -> Report:
    """Judge ``count`` texts."""
    report, tokens = Report(), Tokens()
    maker = TokenMaker(tokens, random.Random(f"tokens/{seed}/{block}"))
    for sort, genuine in tokens.genuine.items():
        for text in genuine:
            assert tokens.judge(sort, text), (sort, text)
    for _ in range(count):
        sort, text = maker.make()
        try:
            taken = run(tokens, sort, text)
            report.counts[f"{sort} {'taken' if taken else 'refused'}"] += 1
        except FoundError as error:
            what = str(error).partition(":")[0]
            data = text.encode("utf-8", "surrogatepass")
            report.find(Finding(TARGET, sort, what, data, str(error)))
    return report


async def replay(finding: Finding) -> list[str]:
    """Judge a text once more; return what is wrong in a word each."""
    try:
        run(Tokens(), finding.kind, finding.data.decode("utf-8", "surrogatepass"))
    except FoundError as error:
        return [str(error).partition(":")[0]]
    return []


async def cut(finding: Finding) -> Finding:
    """Return a finding with the smallest text that still does it."""

    async def still(data: bytes) -> bool:
        try:
            return finding.what in await replay(finding._replace(data=data))
        except UnicodeDecodeError:
            return False

    return finding._replace(data=await cut_down(finding.data, still))
