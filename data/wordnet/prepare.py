"""Make ``wordnet.npz``, the bundled graph of WordNet 3.0, out of Debian's package wordnet-base.

    python data/wordnet/prepare.py [--from FILE] [--out data/wordnet/wordnet.npz]

``--from`` takes a package file that is already here; otherwise ``apt-get download wordnet-base`` fetches it
(any user, nothing is installed).  The result is a function of the package alone.  What the arrays mean is said
beside the function that reads them, `mpignn.storage.datasets.decode_wordnet`.

Shapes: S synsets, K non-zero features, M stored edges.
"""

import argparse
import hashlib
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mpignn.storage.datasets import WORDNET_DIM
from mpignn.storage.datasets_packages import download_deb, unpack_deb
from mpignn.storage.datasets_text import hashed_words

POINTERS = {
    "!": "antonym", "@": "hypernym", "@i": "instance_hypernym", "~": "hyponym", "~i": "instance_hyponym",
    "#m": "member_holonym", "#s": "substance_holonym", "#p": "part_holonym",
    "%m": "member_meronym", "%s": "substance_meronym", "%p": "part_meronym",
    ";c": "domain_topic", "-c": "member_topic", ";r": "domain_region", "-r": "member_region",
    ";u": "domain_usage", "-u": "member_usage", "=": "attribute", "+": "derivation", "*": "entailment",
    ">": "cause", "^": "also_see", "$": "verb_group", "&": "similar_to", "<": "participle_of",
    "\\": "pertainym_or_derived",
}
# WordNet stores these a second time, reversed and under the name on the left; the bundle stores them once.
REVERSED = {
    "hyponym": "hypernym", "instance_hyponym": "instance_hypernym", "member_meronym": "member_holonym",
    "substance_meronym": "substance_holonym", "part_meronym": "part_holonym", "member_topic": "domain_topic",
    "member_region": "domain_region", "member_usage": "domain_usage",
}


def main() -> None:
    parser = argparse.ArgumentParser(description="make the bundled graph of WordNet 3.0")
    parser.add_argument("--from", dest="deb", type=Path, help="a wordnet-base package file, instead of a download")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("wordnet.npz"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        deb = args.deb or download_deb("wordnet-base", Path(folder))
        database = unpack_deb(deb, Path(folder) / "unpacked") / "usr/share/wordnet"
        arrays: dict[str, Any] = bundle(*parse(database))
    np.savez_compressed(args.out, **arrays)
    data = args.out.read_bytes()
    print(f"{args.out}: {len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


def parse(database: Path) -> tuple[np.ndarray, list[str], dict[str, np.ndarray]]:
    """Read the files data.{noun,verb,adj,adv}, whose format is wndb(5WN).

    Synsets are numbered in the order of the files, words in order of first appearance.  A pointer between two
    words of two synsets counts as one between the synsets.

    Returns:
        (S,) lexicographer file of each synset, (S,) its gloss, and of each relation its (2, .) distinct edges,
        sorted; "sense_of" runs from a word to a synset, all others from a synset to a synset.
    """
    lines: list[str] = []
    index: dict[tuple[str, str], int] = {}
    for name, letter in (("noun", "n"), ("verb", "v"), ("adj", "a"), ("adv", "r")):
        for line in (database / f"data.{name}").read_text(encoding="latin1").splitlines():
            if not line.startswith("  "):           # the licence
                index[letter, line[:8]] = len(lines)
                lines.append(line)
    files, glosses = np.empty(len(lines), np.uint8), []
    words: dict[str, int] = {}
    edges: dict[str, list[tuple[int, int]]] = {name: [] for name in (*POINTERS.values(), "sense_of")}
    for synset, line in enumerate(lines):
        head, _, gloss = line.partition("|")
        fields = head.split()
        files[synset] = int(fields[1])
        glosses.append(gloss)
        pointers = 4 + 2 * int(fields[3], 16)
        for lemma in fields[4:pointers:2]:
            word = re.sub(r"\(.*\)$", "", lemma).lower()     # adjectives carry a marker such as (p)
            edges["sense_of"].append((words.setdefault(word, len(words)), synset))
        for at in range(pointers + 1, pointers + 1 + 4 * int(fields[pointers]), 4):
            symbol, offset, letter = fields[at:at + 3]
            target = index["a" if letter == "s" else letter, offset]        # satellite adjectives are adjectives
            edges[POINTERS[symbol]].append((synset, target))
    pairs = {name: np.array(found, np.int64).reshape(-1, 2) for name, found in edges.items()}
    return files, glosses, {name: np.unique(found, axis=0).T for name, found in pairs.items()}


def bundle(files: np.ndarray, glosses: list[str], edges: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of the file: small integers that compress well and decode without a loop."""
    for name, other in REVERSED.items():
        there, back = edges[name], edges[other][::-1]
        if not np.array_equal(there, back[:, np.lexsort(back[::-1])]):
            raise SystemExit(f"{name} is not {other} reversed: this is not WordNet 3.0")
    stored = [name for name in edges if name not in REVERSED]
    src, dst = np.concatenate([edges[name] for name in stored], axis=1)
    counts = hashed_words(glosses, WORDNET_DIM)
    rows, columns = np.nonzero(counts)
    return {
        "labels": files,
        "features_per_row": np.bincount(rows, minlength=len(glosses)).astype(np.uint8),
        "feature_column": columns.astype(np.uint8),
        "feature_count": counts[rows, columns].astype(np.int8),
        "num_words": np.array(edges["sense_of"][0].max() + 1, np.int64),
        "relations": np.array(stored),
        "reversed_relations": np.array(list(REVERSED.items())),
        "relation_sizes": np.array([edges[name].shape[1] for name in stored]),
        "src_step": split_bytes(np.diff(src, prepend=0)),
        "dst_offset": split_bytes(dst - src),
    }


def split_bytes(values: np.ndarray) -> np.ndarray:
    """(M,) integers as (4, M) bytes, the lowest ones first: equal high bytes lie together and compress away."""
    return np.ascontiguousarray(values.astype("<i4").view(np.uint8).reshape(-1, 4).T)


if __name__ == "__main__":
    main()
