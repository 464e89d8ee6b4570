"""Values: what travels on an edge. Payloads are their encoding; JSON is how people write them.

A value is None, bool, int (-2**63 … 2**64-1), float, str, bytes, a list, a dict with text keys, or an array: a
``numpy.ndarray`` where numpy is installed and an ``Array`` elsewhere. Lists and dicts nest to ``MAX_DEPTH`` levels.

Whatever is no value is a ``ValueFault`` whose text begins with the place, for example ``[2].a: map keys must be text``.
"""

from mesh.values.arrays import DTYPES, Array, Buffer
from mesh.values.codec import check, decode, encode, pack_list, pack_map
from mesh.values.fields import Fields
from mesh.values.forms import from_forms, from_json, to_forms, to_json
from mesh.values.kinds import kind_of, matches
from mesh.values.places import at, fault

__all__ = [
    "DTYPES", "Array", "Buffer", "Fields", "at", "check", "decode", "encode", "fault", "from_forms", "from_json",
    "kind_of", "matches", "pack_list", "pack_map", "to_forms", "to_json",
]  # fmt: skip
