"""The identity of a stage's code: its fingerprint, or the identity of earlier code that computes the same."""

from pydantic import BaseModel, ConfigDict

from fashion.code.fingerprint import ROOT, fingerprint
from fashion.errors import FashionError

# The tool `same` writes it.
RECORD = ROOT / "code.json"


class Record(BaseModel):
    """What comparisons of code have found.

    code: for each stage, the fingerprint of the code that was compared. same_as: the identity that this code keeps, by
    stage; for `train` by architecture, as train@KEY.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    code: dict[str, str]
    same_as: dict[str, str]

    @property
    def identities(self) -> set[str]:
        """All identities that it knows."""
        return {*self.code.values(), *self.same_as.values()}


def read_record() -> Record:
    """The record in this folder, empty if there is none; FashionError if it is damaged."""
    try:
        return Record.model_validate_json(RECORD.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Record(code={}, same_as={})
    except ValueError:
        raise FashionError(
            f"{RECORD.name} is damaged, or in conflict after a merge: python -m tools same writes it anew, and "
            "python -m tools same BRANCH adds what equals the branch that was merged."
        ) from None


def identity(stage: str, key: str | None = None) -> str:
    """The identity of a stage's code, for `train` that of an architecture's: of text that nobody compared, its own."""
    record, own = read_record(), fingerprint(stage)
    known = record.same_as if record.code.get(stage) == own else {}
    return known.get(f"{stage}@{key}" if key else stage, own)
