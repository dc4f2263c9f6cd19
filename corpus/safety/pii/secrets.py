"""Keys and tokens, by the marks that their issuers put on them so that they can be found."""

import re
from collections.abc import Iterator

from corpus.safety.pii.span import Span

_TOKENS = {
    "AKIA": r"\bAKIA[0-9A-Z]{16}\b",  # AWS access key
    "ASIA": r"\bASIA[0-9A-Z]{16}\b",  # AWS temporary key
    "ghp_": r"\bghp_[A-Za-z0-9]{36,}\b",  # GitHub
    "gho_": r"\bgho_[A-Za-z0-9]{36,}\b",
    "ghs_": r"\bghs_[A-Za-z0-9]{36,}\b",
    "ghu_": r"\bghu_[A-Za-z0-9]{36,}\b",
    "github_pat_": r"\bgithub_pat_[A-Za-z0-9_]{50,}\b",
    "glpat-": r"\bglpat-[A-Za-z0-9_\-]{20,}",  # GitLab
    "xox": r"\bxox[abeprs]-[A-Za-z0-9\-]{10,}",  # Slack
    "hooks.slack.com/": r"hooks\.slack\.com/services/[A-Za-z0-9/]{20,}",
    "sk-": r"\bsk-(?=[A-Za-z0-9_\-]*\d)(?=[A-Za-z0-9_\-]*[A-Z])[A-Za-z0-9_\-]{20,}",  # OpenAI-like
    "sk_live_": r"\bsk_live_[A-Za-z0-9]{16,}",  # Stripe
    "rk_live_": r"\brk_live_[A-Za-z0-9]{16,}",
    "AIza": r"\bAIza[A-Za-z0-9_\-]{35}",  # Google
    "hf_": r"\bhf_[A-Za-z]{30,}\b",  # Hugging Face
    "npm_": r"\bnpm_[A-Za-z0-9]{36}\b",
    "pypi-": r"\bpypi-[A-Za-z0-9_\-]{50,}",
    "SG.": r"\bSG\.[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{16,64}",  # SendGrid
    "eyJ": r"\beyJ[A-Za-z0-9_\-]{10,}\.eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]*",  # JWT, RFC 7519
    "-----BEGIN": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----.*?"
    r"(?:-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|\Z)",  # RFC 7468
    "aws_secret": r"(?<=aws_secret_access_key)(?:\"?\s*[=:]\s*\"?)[A-Za-z0-9/+]{40}\b",
}
_PATTERNS = {mark: re.compile(body, re.DOTALL) for mark, body in _TOKENS.items()}


def secrets(text: str) -> Iterator[Span]:
    """Tokens and private keys; each mark is a plain substring search before its pattern."""
    for mark, pattern in _PATTERNS.items():
        if mark in text:
            for match in pattern.finditer(text):
                yield Span(*match.span(), "SECRET")
