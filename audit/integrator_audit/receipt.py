"""Receipts after C2SP tlog-proof: an index, an inclusion proof and the checkpoint, in one text that verifies offline.

- Source: https://c2sp.org/tlog-proof. A receipt holds no leaf: the entry is recomputed from an opening
  (`integrator_audit.opening`), and that is the only way a receipt may be used.
"""

from __future__ import annotations

from dataclasses import dataclass

from integrator_audit.checkpoint import Checkpoint, LogKeys, open_checkpoint
from integrator_audit.encoding import from_base64, to_base64, to_decimal
from integrator_audit.errors import Invalid
from integrator_audit.merkle import HASH_SIZE, verify_inclusion

HEADER = "c2sp.org/tlog-proof@v1"
MAX_HASHES = 63
MAX_EXTRA_LINE = 64 * 1024 - 1


@dataclass(frozen=True, slots=True)
class Receipt:
    """One entry's proof under one checkpoint; `extra` is opaque, and empty when there is none.

    SPEC tlog-proof: "MUST NOT implicitly trust the extra data, as it is not authenticated."
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes = b""

    @property
    def text(self) -> bytes:
        """Return the text to hand out, whose file extension is `.tlog-proof`."""
        lines = [HEADER]
        if self.extra:
            lines.append(f"extra {to_base64(self.extra)}")
            if len(lines[1]) > MAX_EXTRA_LINE:
                raise Invalid("receipt", f"the extra line of a receipt has at most {MAX_EXTRA_LINE} bytes")
        lines += [f"index {self.index}", *map(to_base64, self.hashes), "", ""]
        return "\n".join(lines).encode() + self.checkpoint

    @classmethod
    def parse(cls, text: bytes) -> Receipt:
        """Read a receipt; raise `Invalid` when it is malformed. The checkpoint is kept verbatim, unread."""
        head, blank, checkpoint = text.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise Invalid("receipt", "the lines of a receipt before its checkpoint are ASCII") from error
        # SPEC tlog-proof: "The first line MUST be the string `c2sp.org/tlog-proof@v1`."
        if not blank or lines.pop(0) != HEADER:
            raise Invalid("receipt", f"a receipt starts with {HEADER} and has an empty line before its checkpoint")
        extra = b""
        if lines and lines[0].startswith("extra "):
            line = lines.pop(0)
            extra = from_base64(line.removeprefix("extra "), what="the extra line")
            # SPEC tlog-proof: "If no extra data is present, this line is omitted."
            if not extra or len(line) > MAX_EXTRA_LINE:
                raise Invalid("receipt", f"an extra line is not empty and has at most {MAX_EXTRA_LINE} bytes")
        # SPEC tlog-proof: "The next line MUST start with the string `index` followed by a space (U+0020) and the
        # zero-based index of the entry in the log, represented as an ASCII decimal with no leading zeroes"
        if not lines or not lines[0].startswith("index "):
            raise Invalid("receipt", "a receipt says the index of its entry")
        index = to_decimal(lines[0].removeprefix("index "), what="the index")
        hashes = tuple(from_base64(line, what="a hash of the proof") for line in lines[1:])
        if len(hashes) > MAX_HASHES or any(len(item) != HASH_SIZE for item in hashes):
            raise Invalid("receipt", f"a proof has at most {MAX_HASHES} hashes of {HASH_SIZE} bytes")
        return cls(index, hashes, checkpoint, extra)

    def verify(self, leaf: bytes, keys: LogKeys) -> Checkpoint:
        """Check that the leaf hash stands at `index` under the signed checkpoint and return that checkpoint.

        Raises `Tampered` when signature or proof does not hold, `Invalid` when the checkpoint is malformed.
        """
        checkpoint = open_checkpoint(self.checkpoint, keys)
        verify_inclusion(leaf, self.index, checkpoint.size, proof=self.hashes, root=checkpoint.root)
        return checkpoint
