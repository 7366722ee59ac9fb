"""Agreement with the feature tracker: only its sure moments count."""

from types import SimpleNamespace
from typing import cast

import pytest

from lrcn.errors import LrcnError
from lrcn.evaluate.agreement import Agreement, refuse_other_labels
from lrcn.evaluate.global_motion import LABELS, Moment
from lrcn.models.folder import Loaded


def test_only_sure_moments_count() -> None:
    found = Agreement()
    found.add(
        [Moment(1.6, "static"), Moment(1.7, None), Moment(1.8, "pan left"), Moment(1.9, "pan left")],
        ["static", "zoom in", "pan left", "pan right"],
    )
    found.add([Moment(1.6, None)], ["static"])
    figures = found.to_json()
    assert (figures["moments"], figures["sure"], figures["clips"]) == (5, 3, 1)
    assert figures["agreement"] == pytest.approx(2 / 3)
    assert (figures["sure_moving"], figures["agreement_moving"]) == (2, 0.5)
    assert figures["confusion"][LABELS.index("pan left")][LABELS.index("pan right")] == 1


def test_nothing_sure_gives_no_figure() -> None:
    figures = Agreement().to_json()
    assert figures["agreement"] is None
    assert figures["agreement_moving"] is None


def test_a_model_of_other_classes_is_refused() -> None:
    with pytest.raises(LrcnError, match="only camera moves"):
        refuse_other_labels(cast(Loaded, SimpleNamespace(labels=["walk", "run"])))
