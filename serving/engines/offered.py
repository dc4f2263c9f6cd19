"""What an engine takes of a request, and what it refuses."""

from contracts.engine import EngineRequest, InvalidSampling, SamplingParams, UnknownAdapter


def check_offered(request: EngineRequest, offered: tuple[str, ...]) -> None:
    """Refuse a request that asks for more.

    Args:
        request: what was asked.
        offered: sampling parameters that the engine takes, or that change nothing in it.

    Raises:
        InvalidSampling: names the parameter.
        UnknownAdapter: it names an adapter.
    """
    if request.adapter is not None:
        raise UnknownAdapter(f"no adapter {request.adapter!r}: this engine has none")
    plain = SamplingParams()
    for name in vars(plain):
        if name not in offered and getattr(request.sampling, name) != getattr(plain, name):
            raise InvalidSampling(f"{name} is not offered by this engine; leave it out")
