from __future__ import annotations

import pytest
import torch
from torch import nn

from bilora.methods import MethodError
from bilora.methods.carried import CarriedVector


def weights() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(1))]


def test_is_zero_where_nothing_was_stored_and_adds_where_something_was() -> None:
    a, b, _ = parameters = weights()
    vector = CarriedVector("v", lambda: parameters)
    assert len(vector) == 0
    vector.add([b], [torch.full((4,), 2.0)])
    vector.add([a, b], [torch.full((2, 3), 3.0), torch.full((4,), 5.0)])
    assert [t.tolist() for t in vector.of([b, a])] == [[7.0] * 4, [[3.0] * 3] * 2]
    assert vector.of([parameters[2]])[0].tolist() == [0.0]
    assert not vector.of([a])[0].requires_grad
    vector.clear()
    assert len(vector) == 0
    assert vector.stored() == ([], [])


def test_state_comes_back_for_the_same_weights_among_other_entries() -> None:
    parameters, others = weights(), weights()
    vector, again = CarriedVector("v", lambda: parameters), CarriedVector("v", lambda: others)
    vector.store([parameters[1]], [torch.arange(4.0)])
    state = {"steps": torch.tensor(3), "w.0": torch.zeros(9)} | vector.state_dict()
    vector.of([parameters[1]])[0].zero_()  # a state is a copy
    again.load_state_dict(state)
    assert len(again) == 1
    assert again.state_dict()["v.1"].tolist() == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("key", "message"), [("v.1", r"\(2, 3\) for v.1, where the model has shape \(4,\)"), ("v.3", "no such weight")]
)
def test_a_state_of_another_model_is_refused(key: str, message: str) -> None:
    parameters = weights()
    with pytest.raises(MethodError, match=message):
        CarriedVector("v", lambda: parameters).load_state_dict({key: torch.zeros(2, 3)})


def test_follows_weights_that_have_taken_the_places_of_others() -> None:
    parameters = weights()
    vector = CarriedVector("v", lambda: parameters)
    vector.store([parameters[1]], [torch.arange(4.0)])
    parameters[1] = nn.Parameter(torch.zeros(4))
    assert vector.of([parameters[1]])[0].tolist() == [0.0, 1.0, 2.0, 3.0]
