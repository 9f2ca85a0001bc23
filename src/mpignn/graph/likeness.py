"""Names that users give to what has another name here."""

import difflib
from collections.abc import Collection, Iterable

_ALIASES = {
    "features": ("x", "feat", "feats", "h", "attr", "attrs", "embedding", "embeddings", "node_feat", "node_features"),
    "labels": ("y", "target", "targets", "class", "classes", "node_label", "node_labels"),
    "train": ("tr", "training", "train_idx"),
    "val": ("valid", "validation", "dev", "valid_idx", "val_idx"),
    "test": ("testing", "eval", "evaluation", "test_idx"),
}
SPLITS = ("train", "val", "test")
"""What jobs learn from, choose by and measure."""


def likely(wanted: str, names: Collection[str]) -> str | None:
    """The name that probably stands for one that is not among them; None if it is, or if none does.

    Args:
        wanted: The name that is looked for.
        names: Those that there are.
    """
    if wanted in names:
        return None
    others = {name.casefold(): name for name in names}
    alias = next((others[alias] for alias in (wanted, *_ALIASES.get(wanted, ())) if alias in others), None)
    near = difflib.get_close_matches(wanted, list(others), 1, 0.8)
    return alias or (others[near[0]] if near else None)


def misnamed_splits(names: Collection[str]) -> list[tuple[str, str]]:
    """Splits that no job uses, each with the one that it probably is."""
    return [(found, split) for split in SPLITS if (found := likely(split, set(names) - (set(SPLITS) - {split})))]


def one_of(word: str, known: Iterable[str]) -> str:
    """``one of: A, B``, for an error about a word that is none of these, with the one that is probably meant."""
    names = list(known)
    near = difflib.get_close_matches(word, names, 1)
    return f"one of: {', '.join(names)}" + (f"; did you mean {near[0]!r}?" if near else "")
