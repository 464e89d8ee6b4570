"""The sums of a receipt."""

from typing import Any

BYTES = 3  # of every whole number from 256 to 65 535, as an encoded value


def adds_up(receipt: dict[str, Any], *, slow: str, lost: str, spare: str) -> None:
    """Of items that are such numbers, on their way from the node ``slow`` at the worker of that name to ``double``.

    ``double`` went from the lost worker to the spare one. The worker that stayed counts over both epochs; what the lost
    one counted is lost with it.
    """
    assert receipt["items_in"] == sum(receipt["seqs"].values()) + receipt["dropped"] == receipt["results_out"]
    links, calls = receipt["link_bytes"], {node: times["count"] for node, times in receipt["node_ms"].items()}
    assert links.keys() == {f"driver->{slow}", f"{slow}->{lost}", f"{slow}->{spare}", f"{spare}->driver"}
    assert links[f"driver->{slow}"] == BYTES * (receipt["items_in"] + receipt["replayed"])
    assert receipt["items_in"] <= calls["slow"] <= receipt["items_in"] + receipt["replayed"]
    assert links[f"{slow}->{lost}"] + links[f"{slow}->{spare}"] == BYTES * calls["slow"]
    assert links[f"{slow}->{spare}"] == links[f"{spare}->driver"] == BYTES * calls["double"]
