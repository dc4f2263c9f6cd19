"""Keys and values rounded by the kernel against torch's rounding."""

import random

import torch

from serving.engine.cache import CacheShape, Int8Cache, decode, encode
from serving.gpu.ready import interpreting

CPU = torch.device("cpu")


def test_codes_scales_and_zeros() -> None:
    torch.manual_seed(random.getrandbits(32))
    tokens, kv_heads = random.randint(1, 9), random.choice([1, 2, 3])
    size = random.choice([8, 24, 64])
    shape = CacheShape(2, 5, 4, kv_heads, size)
    with interpreting():
        cache = Int8Cache(shape, CPU)
    # As the engine hands them over: a view behind the queries.
    wide = torch.randn(tokens, 3 + 2 * kv_heads, size) * torch.rand(tokens, 1, 1).exp()
    fresh = wide[:, 3:].unflatten(1, (2, kv_heads))
    fresh[0, 0, 0] = 0.7  # equal numbers have no range
    places = torch.tensor(random.sample(range(20), tokens))
    cache.write(1, places, fresh)
    got = cache.gather(1, places)
    codes, scales, zeros = encode(fresh)
    assert got.scales is not None
    assert got.zeros is not None
    torch.testing.assert_close(got.scales, scales)
    torch.testing.assert_close(got.zeros, zeros)
    assert (got.values.int() - codes.int()).abs().max() <= 1
    error = (decode(got.values, got.scales, got.zeros) - fresh).abs()
    assert (error <= 0.51 * scales[..., None] + 1e-6).all()
    others = [place for place in range(20) if place not in places.tolist()]
    assert not cache.pages(1).values[others].any()
    assert not cache.pages(0).values.any()
