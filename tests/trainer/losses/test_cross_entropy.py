import pytest
import torch
import torch.nn.functional as F

from trainer.losses.cross_entropy import IGNORE, linear_cross_entropy


def random_case(positions: int, vocabulary: int, width: int, ignored: float):
    hidden = torch.randn(positions, width, requires_grad=True)
    weight = torch.randn(vocabulary, width, requires_grad=True)
    labels = torch.randint(0, vocabulary, (positions,))
    labels[torch.rand(positions) < ignored] = IGNORE
    return hidden, weight, labels


@pytest.mark.parametrize("positions", [1, 511, 512, 513, 1300])
@pytest.mark.parametrize("ignored", [0.0, 0.7])
def test_value_and_gradients_are_those_of_the_plain_formula(positions: int, ignored: float):
    hidden, weight, labels = random_case(positions, 37, 16, ignored)
    reference = F.cross_entropy(hidden @ weight.t(), labels, ignore_index=IGNORE, reduction="sum")
    wanted = torch.autograd.grad(reference * 0.3, (hidden, weight))
    loss = linear_cross_entropy(hidden, weight, labels)
    found = torch.autograd.grad(loss * 0.3, (hidden, weight))
    torch.testing.assert_close(loss, reference, rtol=1e-5, atol=1e-4)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_nothing_to_predict_is_zero_loss_and_zero_gradient():
    hidden, weight, labels = random_case(20, 11, 8, 0.0)
    loss = linear_cross_entropy(hidden, weight, torch.full_like(labels, IGNORE))
    loss.backward()
    assert loss == 0
    assert not hidden.grad.any()
    assert not weight.grad.any()


def test_large_logits_do_not_overflow():
    hidden = torch.full((3, 4), 300.0)
    weight = torch.eye(4) * 300
    labels = torch.tensor([0, 1, 2])
    loss = linear_cross_entropy(hidden, weight, labels)
    torch.testing.assert_close(loss, torch.tensor(3 * 4.0).log() * 0 + 3 * torch.tensor(4.0).log())


def test_bf16_is_near_fp32():
    hidden, weight, labels = random_case(600, 50, 32, 0.2)
    exact = linear_cross_entropy(hidden, weight, labels)
    rough = linear_cross_entropy(hidden.bfloat16(), weight.bfloat16(), labels)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.02, atol=0)
